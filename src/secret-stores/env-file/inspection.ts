import type { Finding } from '../../rotation/finding.ts';
import type { KeyName } from '../../rotation/keys.ts';
import type { StoreInspection } from '../port.ts';
import { placeOf } from './effective.ts';
import type { EnvFileText, PlacedAssignment } from './effective.ts';
import { lookAtFile } from './file-findings.ts';
import type { FileSystem } from './file-system.ts';
import type { FileImage } from './image.ts';
import type { EnvFileStoreOptions, KeyVariables } from './options.ts';
import { readText, survey } from './survey.ts';
import type { Survey } from './survey.ts';

/** What one reading of every file says. */
export interface FilesInspection {
  readonly findings: readonly Finding[];
  readonly found: Survey;
  /** Of the files that can be used, and the image of each. */
  readonly texts: readonly EnvFileText[];
  readonly images: readonly FileImage[];
}

/** Reads every file once: findings, effective keys, and the images that belong to them. */
export async function inspectFiles(
  fs: FileSystem,
  { files, names }: EnvFileStoreOptions,
): Promise<FilesInspection> {
  const looks = [];
  for (const file of files) looks.push({ file, ...(await lookAtFile(fs, file)) });
  const usable = looks.flatMap(({ file, image }) => (image ? [{ file, image }] : []));
  const texts = usable.map(({ file, image }) => readText(file, image.bytes.toString('latin1')));
  const found = survey(texts, names);
  const images = usable.map(({ image }) => image);
  const twice = images.find(
    ({ realPath }, index) => images.findIndex((other) => other.realPath === realPath) < index,
  );
  const findings = [
    ...looks.flatMap((lookAt) => lookAt.findings),
    ...(twice ? [twiceFinding(twice.realPath)] : []),
    // With a keys file out of reach, that its key is missing says nothing new.
    ...found.findings.filter(({ code }) => code !== 'master-key-missing' || usable.length === files.length),
  ];
  return { findings, found, texts, images };
}

/** Where the keys stand, and what becomes of each place. */
export function placesOf(
  { current, replacements, removals, masterLine }: Survey,
  names: KeyVariables,
): StoreInspection['places'] {
  const place = (at: PlacedAssignment & { key: KeyName }, action: 'replace' | 'remove') => ({
    where: placeOf(at),
    key: at.key,
    name: at.name,
    action,
  });
  const [saltName] = names.salt;
  return [
    ...replacements.map((at) => place(at, 'replace')),
    ...(current.salt === undefined && masterLine && saltName !== undefined
      ? [{ where: placeOf(masterLine), key: 'salt' as const, name: saltName, action: 'add' as const }]
      : []),
    ...removals.map((at) => place(at, 'remove')),
  ];
}

function twiceFinding(path: string): Finding {
  return {
    severity: 'blocking',
    code: 'file-named-twice',
    where: path,
    found: 'two configured files that are the same file',
    expected: 'each file once',
    next: 'take one of them out of the configuration',
  };
}
