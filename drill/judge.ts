import { existsSync } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { withClient } from '../lab/postgres.ts';
import type { DrilledDeployment } from './deployment.ts';
import { judgeDatabase, readRows, type Rows } from './judge-database.ts';
import { keysIn, type Keys } from './key-file.ts';

/*
 * The judge. It shares no code with src/, and believes nothing that a rotation says of itself: it reads the files, opens
 * the stored values with its own ciphers, and calls the service.
 */

interface FileState {
  readonly path: string;
  readonly bytes: string;
  readonly mode: number;
  readonly owner: string;
}

/** A deployment as it stood before the rotation. */
export interface Before {
  readonly files: readonly FileState[];
  readonly names: readonly string[];
  readonly rows: Rows;
  readonly models: readonly string[];
}

/** Where everything is: on one side, with nothing left over; else what is wrong, in words without secrets. */
export interface Verdict {
  readonly side: 'new' | 'restored' | 'between' | 'lost';
  readonly problems: readonly string[];
}

export async function look(deployment: DrilledDeployment): Promise<Before> {
  return {
    files: await Promise.all([deployment.keyFile, deployment.envFile].map(readState)),
    names: (await readdir(deployment.directory)).sort(),
    rows: await withClient(deployment.databaseUrl, (client) => readRows(client, deployment.serviceKind)),
    models: await modelsOf(deployment.url, deployment.keys.master),
  };
}

/** Judges the deployment. Waits for nothing: call it when the workflow has ended. */
export async function judge(
  deployment: DrilledDeployment,
  before: Before,
  virtualKey: string,
): Promise<Verdict> {
  const problems: string[] = [];
  const files = await Promise.all([deployment.keyFile, deployment.envFile].map(readState));
  const [keyFile] = files;
  const keys = keysIn(keyFile?.bytes ?? '');
  const { master, salt = '' } = deployment.keys;
  const side = keys.master === master ? 'restored' : 'new';

  judgeFiles(before, files, { from: { master, salt }, to: keys }, problems);
  const names = (await readdir(deployment.directory)).sort();
  const left = names.filter((name) => !before.names.includes(name) && name !== basename(deployment.ledger));
  if (left.length > 0) problems.push(`left behind: ${left.join(', ')}`);

  await judgeService(deployment, before, { side, keys, virtualKey, problems });
  // The writer goes on, under the key that is in force: its ledger and its rows agree only once it has ended.
  if (existsSync(deployment.ledger)) await deployment.stop();
  const lost = await withClient(deployment.databaseUrl, (client) =>
    judgeDatabase(client, before.rows, deployment, { side, keys, problems }),
  );
  const boots = deployment.serviceKind === 'litellm' ? '' : await readFile(deployment.bootLog, 'utf8');
  const refused = boots.split('\n').filter((line) => line.startsWith('refused')).length;
  if (refused > 0)
    problems.push(`the service was started ${refused} time(s) with a key that does not open its values`);
  if (lost) return { side: 'lost', problems };
  return { side: problems.length > 0 ? 'between' : side, problems };
}

async function readState(path: string): Promise<FileState> {
  const { mode, uid, gid } = await stat(path);
  return { path, bytes: await readFile(path, 'latin1'), mode: mode & 0o7777, owner: `${uid}:${gid}` };
}

function judgeFiles(
  before: Before,
  files: readonly FileState[],
  { from, to }: { from: Keys; to: Keys },
  problems: string[],
): void {
  for (const [at, { path, bytes, mode, owner }] of files.entries()) {
    const was = before.files[at];
    const expected = was?.bytes.replaceAll(from.master, to.master).replaceAll(from.salt, to.salt);
    if (bytes !== expected) problems.push(`${basename(path)} has other bytes than one side's`);
    if (mode !== was?.mode || owner !== was.owner)
      problems.push(`${basename(path)} has another mode or owner than before`);
  }
}

async function judgeService(
  deployment: DrilledDeployment,
  before: Before,
  {
    side,
    keys,
    virtualKey,
    problems,
  }: { side: 'new' | 'restored'; keys: Keys; virtualKey: string; problems: string[] },
): Promise<void> {
  const status = (key: string): Promise<number> =>
    fetch(`${deployment.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }).then(
      (answer) => answer.status,
      () => 0,
    );
  if ((await status(keys.master)) !== 200) {
    problems.push('the service is not up with the key of the files');
    return;
  }
  if (side === 'new' && (await status(deployment.keys.master)) !== 401)
    problems.push('the service does not refuse the previous master key');
  if ((await status(virtualKey)) !== 200) problems.push('the stored virtual key is refused');
  const models = await modelsOf(deployment.url, keys.master);
  if (models.join() !== before.models.join()) problems.push('it serves other models than before');
}

async function modelsOf(url: string, master: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${master}` } });
  const { data } = (await answer.json()) as { data: { id: string }[] };
  return data.map(({ id }) => id).sort();
}
