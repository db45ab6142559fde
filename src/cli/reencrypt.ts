import {
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
} from '@temporalio/client';
import { failureTypes } from '../rotation/failure.ts';
import {
  parseReencryptionRequest,
  type ReencryptedValues,
  type ReencryptionCounts,
  type ReencryptionResult,
  type UpgradeFormat,
} from '../rotation/reencryption.ts';
import { workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { follow, type Followed } from './following.ts';
import { printable } from './printable.ts';
import { placeOf, renderRows, seconds, table } from './rendering.ts';
import { requester } from './requester.ts';
import { forgottenLook } from './rotation-end.ts';
import { withClient } from './temporal-client.ts';

export interface ReencryptOptions {
  readonly upgradeFormat?: UpgradeFormat;
  readonly repairSealedTwice?: boolean;
  readonly plan?: string;
  readonly dryRun?: boolean;
  readonly taskQueue: string;
  readonly json?: boolean;
}

/** `reencrypt TARGET`: the same key, and values in a stronger format or sealed once. */
export async function reencrypt(target: string, options: ReencryptOptions): Promise<number> {
  const { upgradeFormat, repairSealedTwice, plan, dryRun, taskQueue, json } = options;
  const input = {
    target,
    ...(upgradeFormat === undefined ? {} : { upgradeFormat }),
    ...(repairSealedTwice === true ? { repairSealedTwice } : {}),
    ...(plan === undefined ? {} : { plan }),
    ...(dryRun === true ? { dryRun } : {}),
    requestedBy: requester(),
  };
  // What makes no sense is refused here, before Temporal is asked for anything.
  parseReencryptionRequest([input]);
  return withClient(async (client) => {
    const { workflowId } = await client.workflow.start(workflowTypes.reencrypt, {
      args: [input],
      taskQueue,
      workflowId: `reencrypt-${target}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`,
      staticSummary: `${dryRun === true ? 'Plan to seal' : 'Seal'} stored values of ${target} anew, under the same key`,
    });
    process.stderr.write(`litellm-rotate: re-encryption of ${target}: workflow ${workflowId}\n`);
    const result = await follow(client, workflowId, reencryption);
    process.stdout.write(
      `${json === true ? JSON.stringify(result, null, 2) : describeReencryption(result)}\n`,
    );
    return exitCodeOf(result);
  });
}

/** What was wanted and is not so is a finding; a plan has nothing to fail at. */
export function exitCodeOf({ outcome, remaining }: ReencryptionResult): number {
  return outcome === 'reencrypted' && remaining.values > 0 ? exitCodes.finding : exitCodes.done;
}

/** How the end of a re-encryption in place is read. None of them leaves anything for a person to lead back. */
export const reencryption: Followed<ReencryptionResult> = {
  async resultOf(handle) {
    try {
      return printable((await handle.result()) as ReencryptionResult);
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      const { cause } = error;
      const goOn = ['run it again to go on: values that are done are passed over'];
      if (cause instanceof CancelledFailure)
        throw new CommandError(
          exitCodes.finding,
          'the re-encryption was cancelled; every value is readable, those done stay as they are',
          goOn,
        );
      if (cause instanceof TerminatedFailure || cause instanceof TimeoutFailure)
        throw new CommandError(
          exitCodes.finding,
          `workflow ${handle.workflowId} was terminated or timed out; every value is readable, those done stay as they are, and the lease is not released`,
          ['litellm-rotate reconcile TARGET   (releases it; so does the next rotation)', ...goOn],
        );
      const badRequest = cause instanceof ApplicationFailure && cause.type === failureTypes.badRequest;
      throw new CommandError(
        badRequest ? exitCodes.usage : exitCodes.finding,
        cause?.message ?? error.message,
      );
    }
  },
  detached: (workflowId) =>
    new CommandError(exitCodes.detached, 'no longer following; the re-encryption goes on', [
      `litellm-rotate status ${workflowId} --follow`,
      `temporal workflow cancel --workflow-id ${workflowId}   (stops it; what is done stays)`,
    ]),
  forgotten: forgottenLook,
};

/** The result for a terminal: counts, labels and primary keys only. */
export function describeReencryption(result: ReencryptionResult): string {
  const { outcome, target, plan, done, remaining, advice, requested } = result;
  if (outcome === 'planned')
    return [
      `${plan.description}: ${plan.values} values to seal anew, ${describeFormats(plan)}`,
      ...renderLines(plan.lines),
      ...renderRows(plan.listed, plan.unlisted),
      ...renderLeftAlone(plan),
      `plan ${plan.digest}`,
      ...(requested.repairSealedTwice
        ? [`to approve it, give the same options with --plan ${plan.digest} in place of --dry-run`]
        : []),
    ].join('\n');
  return [
    `${target} re-encrypted: ${done?.values ?? 0} values sealed anew in ${seconds((done?.seconds ?? 0) * 1000)}, ${describeFormats(remaining)}`,
    ...renderLines(remaining.lines),
    ...renderLeftAlone(remaining),
    ...(advice === null ? [] : [advice]),
  ].join('\n');
}

function describeFormats({ formats }: ReencryptionCounts): string {
  return `under the current key ${formats.legacy} legacy, ${formats.v2} v2, ${formats.v3} v3`;
}

function renderLines(lines: readonly ReencryptedValues[]): string[] {
  const cells = lines.map(({ table: name, column, verdict, layers, format, becomes, marker, values }) => [
    placeOf({ table: name, column }),
    `${values}`,
    `${marker}${format}`,
    layers.join(' over '),
    verdict === 'repair' ? `sealed once, ${becomes}` : becomes,
  ]);
  return table(cells).map((line) => `  ${line}`);
}

const reasons: Record<keyof ReencryptionCounts['leftAlone'], string> = {
  sealedTwice: 'sealed twice: see --repair-sealed-twice, or a layer opens with no known key',
  underOtherKeys: 'under another known key: a rotation carries them over',
  unreadable: 'open with no known key',
  ids: 'ids, which are never rewritten',
  withoutKey: 'in tables without a primary key',
};

function renderLeftAlone({ leftAlone }: ReencryptionCounts): string[] {
  return Object.entries(reasons)
    .map(([name, reason]) => ({ reason, values: leftAlone[name as keyof typeof reasons] }))
    .filter(({ values }) => values > 0)
    .map(({ reason, values }) => `  left alone: ${values} ${reason}`);
}
