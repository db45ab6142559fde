import type { Finding } from '../rotation/finding.ts';

/** How a service's definition reads env files, against what the rotation writes. */
export interface EnvFileReading {
  /** The unit, or the compose service. */
  readonly where: string;
  /** What it is called in the definition: `EnvironmentFile=`, `env_file:`. */
  readonly setting: string;
  /** What the definition reads, in order: the last one wins. */
  readonly read: readonly { readonly path: string; readonly optional: boolean }[];
  /** What the rotation writes, in the order in which it must be read. */
  readonly written: readonly string[];
  /** Written files that reach the service in another way. */
  readonly otherwiseRead?: readonly string[];
  /** Resolves symbolic links. */
  readonly realPath: (path: string) => string;
  /** How to make it read a file, and how to make a file mandatory. */
  readonly add: (path: string) => string;
  readonly require: string;
}

/** Whether the service will read what the rotation writes, and nothing after it that could undo it. */
export function envFileFindings(reading: EnvFileReading): Finding[] {
  const { where, setting, read, written, otherwiseRead = [], realPath } = reading;
  const found = `${setting} ${read.map(({ path }) => path).join(', ') || 'none'}`;
  const order = read.map(({ path }) => realPath(path));
  // A file that is named twice counts where it is read last.
  const positions = written.map((path) => order.lastIndexOf(realPath(path)));
  const findings: Finding[] = [];
  for (const [index, path] of written.entries()) {
    const file = read[positions[index] ?? -1];
    if (file === undefined && !otherwiseRead.includes(path)) {
      findings.push({
        severity: 'blocking',
        code: 'env-file-unread',
        where,
        found,
        expected: `${path} among them, by its absolute path`,
        next: reading.add(path),
      });
    }
    if (file?.optional === true) {
      findings.push({
        severity: 'warning',
        code: 'env-file-optional',
        where,
        found: `that ${path} may be missing`,
        expected: 'a start that fails without it: LiteLLM must not start without its keys',
        next: reading.require,
      });
    }
  }
  const known = positions.filter((position) => position >= 0);
  if (known.some((position, index) => index > 0 && position < (known[index - 1] ?? 0))) {
    findings.push({
      severity: 'warning',
      code: 'env-file-order',
      where,
      found,
      expected: `the order of the configuration: ${written.join(', ')} (the last one wins)`,
      next: 'write the files in the order of the definition in the configuration of this target',
    });
  }
  const unlisted = read.filter((_, index) => index > Math.min(...known) && !known.includes(index));
  if (unlisted.length > 0) {
    findings.push({
      severity: 'warning',
      code: 'env-file-unlisted',
      where,
      found: `that ${unlisted.map(({ path }) => path).join(', ')} is read after the files of this target`,
      expected: 'that every later file is known, because an empty `NAME=` in it wipes a key',
      next: 'add it to the files of this target in the configuration',
    });
  }
  return findings;
}
