import { MockActivityEnvironment } from '@temporalio/testing';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { withHeartbeat } from '../../src/activities/context.ts';
import { createReencryptionActivities } from '../../src/activities/reencryption.ts';
import type { Ports, Target } from '../../src/activities/ports.ts';
import { Secret } from '../../src/rotation/secret.ts';
import type { StepProgress } from '../../src/rotation/step-progress.ts';
import { begin, fillModels, never, previous, silent, upgrade } from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const lab = useTestDatabase();

/** An activity's attempt, and its heartbeats. */
function attempt(info: ConstructorParameters<typeof MockActivityEnvironment>[0] = {}) {
  const environment = new MockActivityEnvironment({
    currentAttemptScheduledTimestampMs: Date.now(),
    ...info,
  });
  const beats: StepProgress[] = [];
  environment.on('heartbeat', (beat: StepProgress) => beats.push(beat));
  return { environment, beats };
}

test('a rate is that of now, though a step has nothing more to tell: it waits for somebody', async () => {
  const { environment, beats } = attempt();
  await environment.run(() =>
    withHeartbeat(
      async (_signal, progress) => {
        for (let done = 0; done <= 1_500; done += 50) {
          progress({ done, total: 100_000 });
          await sleep(50);
        }
        await sleep(4_000);
      },
      { everyMs: 100 },
    ),
  );
  const rates = beats.map(({ perSecond }) => perSecond ?? 0);
  expect(rates.at(-1)).toBeLessThan(Math.max(...rates) / 2);
});

test('of a re-encryption in place, the next attempt counts on from where the last one stopped', async () => {
  await fillModels(lab.client, 300);
  const database = lab.rotationDatabase({ backOff: false, throttleValuesPerSecond: 100 });
  await begin(database);
  const current = { master: new Secret('sk-master'), salt: previous.key };
  const target = {
    database,
    store: { inspect: () => Promise.resolve({ current, findings: [] }) },
    knownKeys: [],
  } as unknown as Target;
  const activities = createReencryptionActivities({
    target: () => target,
  } as unknown as Ports);
  const asked = { target: 'prod', rotation: 'r-1', upgradeFormat: 'v2', repairSealedTwice: false } as const;
  const { values: expected } = await database.surveyImprovement(upgrade, silent, never);
  const reencrypt = () => activities.reencryptValues({ ...asked, expected });

  const first = attempt();
  const cancelled = first.environment.run(reencrypt);
  await expect.poll(() => first.beats.at(-1)?.done, { timeout: 20_000 }).toBeGreaterThan(0);
  first.environment.cancel('TIMED_OUT');
  await expect(cancelled).rejects.toThrow();
  const last = first.beats.at(-1);

  const second = attempt({ attempt: 2, heartbeatDetails: last });
  await second.environment.run(reencrypt);
  const done = second.beats.map((beat) => beat.done);
  expect(done[0]).toBe(last?.done);
  expect(done.at(-1)).toBeGreaterThan(expected / 2);
  expect(Math.max(...done)).toBeLessThanOrEqual(expected);
});
