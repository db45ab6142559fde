import { defineSearchAttributeKey } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Plan } from '../rotation/plan.ts';
import type { RotationStatus } from '../rotation/status.ts';
import { progressSignalName } from '../rotation/step-progress.ts';

/** What clients import: names on the wire, and nothing of the workflow itself. */
export const workflowTypes = {
  rotate: 'RotateMasterKey',
  reconcile: 'ReconcileRotation',
  inventory: 'InventoryValues',
  reencrypt: 'ReencryptValues',
} as const;

/**
 * How long a task of a workflow may take, of which a worker needs some ms. One that goes to a poll that a frozen worker
 * has left open is lost for so long, with LiteLLM stopped if need be; Temporal's default is 10 s.
 */
export const workflowTaskTimeout = '5s';

/** Where a rotation is, with every step so far. */
export const statusQuery = defineQuery<RotationStatus>('status');

/** The plan, once preflight has made it. */
export const planQuery = defineQuery<Plan | null>('plan');

/** From a running activity: how far it is. A `ProgressReport`; anything else is passed over. */
export const progressSignal = defineSignal<[unknown]>(progressSignalName);

/** To a rotation that needs a person: go on rolling back, from the compensation that failed. */
export const rollbackUpdate = defineUpdate<void>('rollback');

/** To a rotation that needs a person: go forward again. Every step looks first, so what is done is not done twice. */
export const resumeUpdate = defineUpdate<void>('resume');

/** Stand still before the outage; done when nothing runs any more. Refused once LiteLLM is about to be stopped. */
export const pauseUpdate = defineUpdate<void>('pause');

/** Go on after a pause, from where it stopped. */
export const continueUpdate = defineUpdate<void>('continue');

/** Search attributes, all of type Keyword: registered by the worker at its start. */
export const searchAttributes = {
  target: defineSearchAttributeKey('RotationTarget', 'KEYWORD'),
  phase: defineSearchAttributeKey('RotationPhase', 'KEYWORD'),
  outcome: defineSearchAttributeKey('RotationOutcome', 'KEYWORD'),
};
