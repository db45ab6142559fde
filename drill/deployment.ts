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
  const standingIn = await replaceByStandIn(deployment, {
    BOOT_LOG: bootLog,
    NODE_COMPILE_CACHE: lane.compileCache,
    ...(options.busy ? { BUSY_WRITER: ledger } : {}),
  });
  return { ...deployment, ...standingIn, serviceKind, bootLog, ledger };
}

/** Puts the stand-in where the deployment's service starts LiteLLM. `settings` are the stand-in's own variables. */
export async function replaceByStandIn(
  { service, target, url }: Deployment,
  settings: Readonly<Record<string, string>> = {},
): Promise<Pick<Deployment, 'target'>> {
  const lines = (await readFile(service.description, 'utf8'))
    .split('\n')
    .filter((line) => !/^(PASS|PYTHON|LITELLM)=/.test(line) && line !== '');
  lines.push(`PYTHON=${process.execPath}`, `LITELLM=${standIn}`);
  lines.push(...Object.entries(settings).map(([name, value]) => `PASS=${name}=${value}`));
  await writeFile(service.description, `${lines.join('\n')}\n`);
  return { target: { ...target, observe: '1s', fenceTimeout: '15s', proxy: { url, readyTimeout: '30s' } } };
}
