import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from '../lab/child.ts';
import type { DrilledDeployment } from './deployment.ts';
import { files, type Injection, type Passed, readPoints } from './injection.ts';
import { keysIn, slotPath } from './key-file.ts';
import type { Lane } from './lane.ts';
import { startDrilledWorker } from './worker-process.ts';

/** Plays the machines: what is killed comes up again, and what a worker at its point asks for is done to the servers. */
export interface Controller {
  /** Rejects when a server or a worker could not be brought up again. */
  readonly broken: Promise<never>;
  stop(): Promise<void>;
}

export interface ControlledRun {
  readonly injections: readonly Injection[];
  readonly deployment: DrilledDeployment;
  readonly directory: string;
  readonly config: string;
  /** Filled with every key that is seen in the files. */
  readonly secrets: Set<string>;
  readonly startSecond: () => void;
}

export async function startController(
  lane: Lane,
  { injections, deployment, directory, config, secrets, startSecond }: ControlledRun,
): Promise<Controller> {
  const options = {
    directory,
    config,
    temporalAddress: lane.temporalAddress,
    compileCache: lane.compileCache,
    env: deployment.workerEnv,
  };
  const workers: Child[] = [await startDrilledWorker(options)];
  const life = { going: true };
  const finish = (n: number) => writeFile(join(directory, files.done(n)), '');

  const zombie = async (n: number, worker: Child, beside: boolean): Promise<void> => {
    const { point } = JSON.parse(await readFile(join(directory, files.fired(n)), 'utf8')) as Passed;
    const activity = point.split(':')[0] ?? '';
    workers.push(await startDrilledWorker(options));
    // Woken when its successor begins, or when that has gone on to the next activity.
    for (const deadline = Date.now() + 90_000; life.going && Date.now() < deadline; await sleep(50)) {
      const successors = (await readPoints(directory)).filter(({ pid }) => pid !== worker.pid);
      if (successors.some((passed) => (passed.point.split(':')[0] === activity) === beside)) break;
    }
    await finish(n);
    process.kill(worker.pid, 'SIGCONT');
  };

  const inject = async (n: number, { fault }: Injection): Promise<void> => {
    const worker = workers.at(-1);
    switch (fault) {
      case 'postgres':
        await lane.crashPostgres();
        return finish(n);
      case 'temporal':
        await lane.killTemporal();
        return finish(n);
      case 'cancel':
        await lane.client.workflow.getHandle(deployment.name).cancel();
        return finish(n);
      case 'terminate':
        await lane.client.workflow.getHandle(deployment.name).terminate('the drill');
        return finish(n);
      case 'second':
        // Not awaited: its activities may wait for the worker that waits here.
        startSecond();
        return finish(n);
      case 'zombie beside':
      case 'zombie late':
        if (worker !== undefined) await zombie(n, worker, fault === 'zombie beside');
        return;
      case 'fail':
      case 'kill':
        return;
      default:
        fault satisfies never;
    }
  };

  const loop = (async () => {
    const seen = new Set<number>();
    for (; life.going; await sleep(25)) {
      for (const [n, injection] of injections.entries()) {
        if (seen.has(n) || !existsSync(join(directory, files.fired(n)))) continue;
        seen.add(n);
        await inject(n, injection);
      }
      const dead = workers.findIndex((worker) => worker.ended() !== undefined);
      if (dead >= 0 && life.going) {
        workers.splice(dead, 1);
        workers.push(await startDrilledWorker(options));
      }
      const slot = await readFile(slotPath(deployment), 'utf8').catch(() => '');
      for (const [key] of slot.matchAll(/sk-[0-9a-f]{64}/g)) secrets.add(key);
      const now = keysIn(await readFile(deployment.keyFile, 'utf8').catch(() => ''));
      for (const key of [now.master, now.salt]) if (key !== '') secrets.add(key);
    }
  })();
  const broken = loop.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => Promise.reject(error),
  );
  broken.catch(() => undefined);
  return {
    broken,
    async stop() {
      life.going = false;
      await loop.catch(() => undefined);
      await Promise.all(
        workers.splice(0).map(async (worker) => {
          worker.abandon('SIGCONT');
          await worker.stop('SIGKILL', 5_000);
        }),
      );
    },
  };
}
