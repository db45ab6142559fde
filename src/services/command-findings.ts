import type { Finding } from '../rotation/finding.ts';
import type { CommandLook, CommandServiceOptions } from './command-options.ts';
import { programPath } from './host.ts';
import { isDirectory, isRunnable } from './runnable.ts';

/** What stands in the way of driving a service with these programs; runs none of them. */
export async function commandFindings(
  options: CommandServiceOptions,
  variables: readonly string[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const part of ['start', 'stop', 'status'] as const) {
    const file = options[part][0] ?? '';
    if (await isRunnable(file, { cwd: options.cwd, searchPath: searchPath(options) })) continue;
    findings.push({
      severity: 'blocking',
      code: 'command-not-runnable',
      where: `${part} command`,
      found: `${file}, which is not an executable file${file.includes('/') ? '' : ` in ${searchPath(options)}`}`,
      expected: 'a program that the worker may run',
      next: 'correct the command in the configuration; give an absolute path',
    });
  }
  if (options.cwd !== undefined && !(await isDirectory(options.cwd))) {
    findings.push({
      severity: 'blocking',
      code: 'command-directory-missing',
      where: 'cwd',
      found: `${options.cwd}, which is not a directory`,
      expected: 'the directory that the commands run in',
      next: 'correct cwd in the configuration',
    });
  }
  for (const name of variables.filter((variable) => options.environment?.[variable] !== undefined)) {
    findings.push({
      severity: 'blocking',
      code: 'key-in-configuration',
      where: 'environment',
      found: `${name} in the configuration of the service, where it beats the file that the rotation writes`,
      expected: 'the key in the secret store only',
      next: `take ${name} out of the environment of this service`,
    });
  }
  return findings;
}

/** What one look through the status program says about it. */
export function statusFindings({ log }: CommandServiceOptions, seen: CommandLook): Finding[] {
  const findings: Finding[] = [];
  if (seen.state === 'failed') {
    findings.push({
      severity: 'blocking',
      code: 'status-unusable',
      where: 'status command',
      found: seen.detail,
      expected: 'exit 0 for a running service, and 3 for a stopped one',
      next: 'run it by hand as the user of the worker, and correct it',
    });
  }
  if (seen.state === 'running' && seen.process === undefined) {
    findings.push({
      severity: 'warning',
      code: 'status-without-pid',
      where: 'status command',
      found: 'no pid in its first line',
      expected: '`running PID`, so that the end of the process, the restart and its keys can be proved',
      next: 'let it print the pid of LiteLLM',
    });
  }
  if (log === undefined) {
    findings.push({
      severity: 'note',
      code: 'service-log-unknown',
      where: 'log',
      found: 'no log file in the configuration',
      expected: 'the file that LiteLLM appends to, so that a decryption error in it is seen',
      next: 'give `log` if there is one',
    });
  }
  return findings;
}

function searchPath({ environment }: CommandServiceOptions): string {
  return environment?.['PATH'] ?? programPath;
}
