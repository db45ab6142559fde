import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Deployment } from '../../lab/deployment.ts';

/** A deployment whose service can be made to meet something at an exact moment, such as an editor between stop and start. */
export interface HookedDeployment {
  /** A `targets` entry with the hooked service. */
  readonly target: Record<string, unknown>;
  /** Runs a script once, right before the next start or stop; when it fails, so does the start or stop. */
  before(verb: 'start' | 'stop', script: string): Promise<void>;
}

/** Puts a script in front of the deployment's own one. */
export async function hookService(deployment: Deployment): Promise<HookedDeployment> {
  const directory = join(deployment.directory, 'hooks');
  await mkdir(directory);
  const program = join(directory, 'litellm-service');
  await writeExecutable(
    program,
    `#!/bin/bash
hook=${directory}/before-$1
if [ -e "$hook" ]; then
  mv "$hook" "$hook.running"
  "$hook.running" || exit 1
fi
exec ${deployment.service.script} "$1" ${deployment.service.description}
`,
  );
  return {
    target: {
      ...deployment.target,
      service: {
        type: 'command',
        start: [program, 'start'],
        stop: [program, 'stop'],
        status: [program, 'status'],
        log: deployment.service.log,
      },
    },
    before: (verb, script) => writeExecutable(join(directory, `before-${verb}`), `#!/bin/bash\n${script}\n`),
  };
}

async function writeExecutable(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o755);
}
