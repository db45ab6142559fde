import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createDeployment, type Deployment } from '../lab/deployment.ts';
import { type Lane, template } from './lane.ts';

const standIn = fileURLToPath(new URL('stand-in.ts', import.meta.url));

/** The stand-in starts in half a second, so that hundreds of runs are to be had; LiteLLM itself needs about ten. */
export type ServiceKind = 'stand-in' | 'litellm';

/** A deployment with either service. */
export interface DrilledDeployment extends Deployment {
  readonly serviceKind: ServiceKind;
  /** `served` or `refused`, one line a start; the stand-in's only. */
  readonly bootLog: string;
  /** What the busy writer asked for, when there is one. */
  readonly ledger: string;
}

/** A copy of the lane's database, key files, and the service under the lab's own service script. */
export async function createDrilledDeployment(
  lane: Lane,
  name: string,
  directory: string,
  options: { readonly busy: boolean; readonly serviceKind?: ServiceKind },
): Promise<DrilledDeployment> {
  const deployment = await createDeployment({
    postgres: lane.postgres,
    directory,
    name,
    template,
    keys: lane.seeded.keys,
  });
  const [bootLog, ledger] = [join(directory, 'boots.log'), join(directory, 'ledger.log')];
  const { serviceKind = 'stand-in' } = options;
  if (serviceKind === 'litellm') return { ...deployment, serviceKind, bootLog, ledger };
  const { description } = deployment.service;
  const lines = (await readFile(description, 'utf8'))
    .split('\n')
    .filter((line) => !/^(PASS|PYTHON|LITELLM)=/.test(line) && line !== '');
  lines.push(
    `PYTHON=${process.execPath}`,
    `LITELLM=${standIn}`,
    `PASS=BOOT_LOG=${bootLog}`,
    `PASS=NODE_COMPILE_CACHE=${lane.compileCache}`,
  );
  if (options.busy) lines.push(`PASS=BUSY_WRITER=${ledger}`);
  await writeFile(description, `${lines.join('\n')}\n`);
  const target = {
    ...deployment.target,
    observe: '1s',
    fenceTimeout: '15s',
    proxy: { url: deployment.url, readyTimeout: '30s' },
  };
  return { ...deployment, serviceKind, target, bootLog, ledger };
}
