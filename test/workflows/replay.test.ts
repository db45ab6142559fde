import { DefaultLogger, type ReplayWorkerOptions, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadWorkflowBundle } from '../../src/temporal/workflow-bundle.ts';

const directory = new URL('../histories/', import.meta.url);
const names = readdirSync(directory)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.replace('.json', ''));
const textOf = (name: string) => readFileSync(new URL(`${name}.json`, directory), 'utf8');

let options: ReplayWorkerOptions;
beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  options = { workflowBundle: await loadWorkflowBundle() };
});

describe('the workflows replay what earlier releases recorded', () => {
  test('there is a history of every ending', () => {
    expect(names).toEqual(
      expect.arrayContaining([
        'rotated',
        'rehearsed',
        'rehearsal-failed',
        'planned',
        'refused',
        'bad-request',
        'rolled-back',
        'cancelled',
        'paused-then-continued',
        'needs-a-person-then-rollback',
        'needs-a-person-then-resume',
        'converged-after-terminate',
        'reconciled',
        'reencrypted',
      ]),
    );
  });

  test.for(names)('%s', async (name) => {
    await Worker.runReplayHistory(options, JSON.parse(textOf(name)), name);
  });

  test.for([
    ['an activity that is called no more', 'recordPlan', 'forgottenActivity'],
    ['steps in another order', 'stopService', 'swapValues'],
  ] as const)('and a history that they do not fit is noticed: %s', async ([, called, other]) => {
    const changed = textOf('rotated').replace(`"name": "${called}"`, `"name": "${other}"`);
    expect(changed).not.toBe(textOf('rotated'));
    await expect(Worker.runReplayHistory(options, JSON.parse(changed), 'rotated')).rejects.toThrow(
      DeterminismViolationError,
    );
  });

  test.for(names)('%s names no machine, no path and no stack trace', (name) => {
    expect(textOf(name)).not.toMatch(/"\/(?:home|root|tmp|work)\/|node_modules|\.ts:\d+/);
  });
});
