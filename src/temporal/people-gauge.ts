import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { MetricMeter } from '@temporalio/common';
import { searchAttributes, workflowTypes } from '../workflows/messages.ts';

/** For alarms: 1 while a rotation of the target waits for a person, else 0. Its tag is `target`. */
export const needsPersonGauge = 'litellm_rotate_needs_person';

const everyMs = 10_000;
const waiting = `WorkflowType = '${workflowTypes.rotate}' and ExecutionStatus = 'Running' and ${searchAttributes.outcome.name} = 'needs a person'`;

/**
 * Keeps the gauge true until `signal` aborts. It asks Temporal, every ten seconds, rather than being told by a workflow:
 * a worker that was restarted would not be told again of what waits already. While Temporal does not answer, it stays.
 */
export async function watchForPeople(
  client: Client,
  meter: MetricMeter,
  targets: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const gauge = meter.createGauge(needsPersonGauge, 'int', '', 'Rotations that wait for a person');
  while (!signal.aborted) {
    const found = await targetsThatWait(client).catch(() => undefined);
    if (found !== undefined) for (const target of targets) gauge.set(found.has(target) ? 1 : 0, { target });
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

async function targetsThatWait(client: Client): Promise<ReadonlySet<string>> {
  const targets = new Set<string>();
  for await (const { typedSearchAttributes } of client.workflow.list({ query: waiting })) {
    const target = typedSearchAttributes.get(searchAttributes.target);
    if (target !== undefined) targets.add(target);
  }
  return targets;
}
