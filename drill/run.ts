import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeConfig } from '../lab/deployment.ts';
import { withClient } from '../lab/postgres.ts';
import { workflowTaskTimeout } from '../src/workflows/messages.ts';
import { startController } from './controller.ts';
import { createDrilledDeployment, type DrilledDeployment, type ServiceKind } from './deployment.ts';
import { files, type Injection, type Passed, readPoints } from './injection.ts';
import { judge, look, type Verdict } from './judge.ts';
import { slotPath } from './key-file.ts';
import type { Lane } from './lane.ts';
import { findLeaks } from './leaks.ts';
import { watchOutage } from './outage.ts';
import { follow, phaseOf, reconcile, refusedSecond, wordsOf } from './rotation.ts';

/** What to do in one run. */
export interface Drill {
  readonly name: string;
  readonly injections: readonly Injection[];
  /** Writers at work all the while. */
  readonly busy?: boolean;
  /** What a person sends when the rotation waits for one; without it, waiting is a failure. */
  readonly person?: 'rollback' | 'resume';
}

/** How one run ended. */
export interface Ended {
  readonly drill: Drill;
  /** `not reached`: the point did not come up in this run, so nothing was injected. */
  readonly ended: 'new' | 'restored' | 'between' | 'lost' | 'needs a person' | 'stuck' | 'not reached';
  /** It waited for a person on its way. */
  readonly askedForPerson: boolean;
  readonly problems: readonly string[];
  readonly seconds: number;
  readonly outageSeconds: number;
  readonly points: readonly Passed[];
}

let runs = 0;

/** Makes a deployment, starts a worker and a rotation, lets happen what is to happen, and judges what is left. */
export async function run(lane: Lane, drill: Drill, serviceKind: ServiceKind): Promise<Ended> {
  const name = `${lane.name}-${(runs += 1)}`;
  const directory = join(lane.directory, name);
  const postgresLog = { path: lane.postgres.log, from: (await stat(lane.postgres.log)).size };
  const deployment = await createDrilledDeployment(lane, name, join(directory, 'target'), {
    busy: drill.busy === true,
    serviceKind,
  });
  await deployment.start();
  const config = join(directory, 'litellm-rotate.yaml');
  await writeConfig(config, [deployment]);
  await writeFile(join(directory, files.plan), JSON.stringify(drill.injections));
  const before = await look(deployment);
  const secrets = new Set([deployment.keys.master, deployment.keys.salt ?? '']);
  const outage = watchOutage(deployment.url);
  const startedAt = Date.now();
  let second: Promise<readonly string[]> = Promise.resolve([]);
  const startSecond = () => {
    second = refusedSecond(lane, name);
    second.catch(() => undefined);
  };
  const controller = await startController(lane, {
    injections: drill.injections,
    deployment,
    directory,
    config,
    secrets,
    startSecond,
  });
  try {
    const handle = await lane.client.workflow.start('RotateMasterKey', {
      args: [{ target: name, requestedBy: 'the drill' }],
      taskQueue: 'litellm-rotate',
      workflowTaskTimeout,
      workflowId: name,
    });
    const { closed, askedForPerson, waiting } = await follow(handle, drill.person, controller);
    // While a worker can answer.
    const words = closed ? [] : [await phaseOf(handle), await wordsOf(handle)];
    const seconds = Math.round((Date.now() - startedAt) / 100) / 10;
    const points = await readPoints(directory);
    const ids = drill.injections.some(({ fault }) => fault === 'second') ? [name, `${name}-second`] : [name];
    // Before a lease is looked for, and while a worker can refuse it.
    const unrefused = await Promise.race([second, controller.broken, tooLate()]);
    if (closed && (await leaseIsLeft(deployment))) ids.push(await reconcile(lane, name));
    await controller.stop();
    const outageSeconds = Math.round((await outage.stop()) / 100) / 10;
    const verdict = await judge(deployment, before, lane.seeded.virtualKey);
    const allowed = [deployment.keyFile, deployment.envFile, deployment.ledger, slotPath(deployment)];
    const leaks = await findLeaks(lane.client, ids, directory, secrets, allowed, [postgresLog]);
    const problems = [...verdict.problems, ...unrefused, ...leaks.map((place) => `key material in ${place}`)];
    const fired = drill.injections.every((_, n) => existsSync(join(directory, files.fired(n))));
    return {
      drill,
      ended: closed ? endOf(verdict, problems, fired) : waiting ? 'needs a person' : 'stuck',
      askedForPerson,
      problems: [...problems, ...words],
      seconds,
      outageSeconds,
      points,
    };
  } finally {
    await controller.stop();
    await outage.stop();
    await deployment.stop().catch(() => undefined);
    await cleanUp(lane, name);
  }
}

function endOf({ side }: Verdict, problems: readonly string[], fired: boolean): Ended['ended'] {
  if (side === 'lost' || side === 'between') return side;
  if (problems.length > 0) return 'between';
  return fired ? side : 'not reached';
}

async function leaseIsLeft(deployment: DrilledDeployment): Promise<boolean> {
  return withClient(deployment.databaseUrl, async (client) => {
    const { rows } = await client.query<{ found: boolean }>(
      `select to_regclass('litellm_rotate.lease') is not null as found`,
    );
    if (rows[0]?.found !== true) return false;
    const { rowCount } = await client.query('select 1 from litellm_rotate.lease where rotation is not null');
    return rowCount === 1;
  });
}

/** A second rotation is refused by its first step. */
async function tooLate(): Promise<readonly string[]> {
  await sleep(60_000, undefined, { ref: false });
  return ['the second rotation has not ended'];
}

async function cleanUp(lane: Lane, name: string): Promise<void> {
  await withClient(lane.postgres.adminUrl, (client) =>
    client.query(`drop database if exists "${name}" with (force)`),
  ).catch(() => undefined);
}
