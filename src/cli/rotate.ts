import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { KeyName } from '../rotation/keys.ts';
import { describeOutageParts } from '../rotation/rehearsal.ts';
import { parseRequest } from '../rotation/request.ts';
import type { RotationResult } from '../rotation/status.ts';
import { workflowTaskTimeout, workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { follow, planning, rotation } from './following.ts';
import { renderPlan, seconds } from './rendering.ts';
import { requester } from './requester.ts';
import { withClient } from './temporal-client.ts';

export interface RotateOptions {
  readonly keys?: readonly KeyName[];
  readonly reason?: string;
  readonly taskQueue: string;
  readonly workflowId?: string;
  readonly dryRun?: boolean;
  /** Left out: as the worker's configuration says. */
  readonly rehearse?: boolean;
  readonly detach?: boolean;
  readonly json?: boolean;
}

/** `rotate TARGET` and `plan TARGET`: starts a workflow and follows it. */
export async function rotate(target: string, options: RotateOptions): Promise<number> {
  const input = {
    target,
    ...(options.keys === undefined ? {} : { keys: options.keys }),
    requestedBy: requester(),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.dryRun === true ? { dryRun: true } : {}),
    ...(options.rehearse === undefined ? {} : { rehearse: options.rehearse }),
  };
  // What makes no sense is refused here, before Temporal is asked for anything.
  parseRequest([input]);
  return withClient(async (client) => {
    const workflowId = await start(client, input, options);
    process.stderr.write(
      `litellm-rotate: ${options.dryRun === true ? 'planning' : 'rotation of'} ${target}: workflow ${workflowId}\n`,
    );
    if (options.detach === true) {
      process.stdout.write(options.json === true ? `${JSON.stringify({ workflowId })}\n` : `${workflowId}\n`);
      return exitCodes.done;
    }
    const result = await follow(client, workflowId, options.dryRun === true ? planning : rotation);
    if (options.json === true) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    else process.stdout.write(`${describeResult(result)}\n`);
    return exitCodeOf(result);
  });
}

/** A plan may be blocked; a rotation that ends at all is done. */
export function exitCodeOf({ plan }: RotationResult): number {
  return plan?.blocked === true ? exitCodes.finding : exitCodes.done;
}

async function start(
  client: Client,
  input: { readonly target: string; readonly requestedBy: string },
  options: RotateOptions,
): Promise<string> {
  const { target } = input;
  const workflowId =
    options.workflowId ??
    `${options.dryRun === true ? 'plan' : 'rotate'}-${target}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
  try {
    await client.workflow.start(workflowTypes.rotate, {
      args: [input],
      taskQueue: options.taskQueue,
      workflowId,
      workflowIdConflictPolicy: 'FAIL',
      workflowTaskTimeout,
      staticSummary: `${options.dryRun === true ? 'Plan a rotation' : 'Rotate the keys'} of ${target}, asked for by ${input.requestedBy}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new CommandError(exitCodes.finding, `workflow ${workflowId}: found it running already`, [
      `litellm-rotate status ${workflowId} --follow`,
    ]);
  }
  return workflowId;
}

/** The last lines of a rotation that went well. */
export function describeResult(result: RotationResult): string {
  if (result.plan !== null) return renderPlan(result.plan);
  const { fingerprints, reencrypted, rehearsal, outageMs, summary, target } = result;
  return [
    `${target} ${summary}`,
    ...(fingerprints === null
      ? []
      : [
          `  master key  ${fingerprints.previous.master} -> ${fingerprints.current.master}`,
          `  salt key    ${fingerprints.previous.salt ?? 'none'} -> ${fingerprints.current.salt ?? 'none'}`,
        ]),
    ...(reencrypted === null
      ? []
      : [`  values      ${reencrypted.values} re-encrypted in ${reencrypted.rows} rows`]),
    // Evidence of an earlier release has none.
    ...(!rehearsal
      ? []
      : [
          `  rehearsal   ${rehearsal.values} values on a clone (by ${rehearsal.clone}, ${seconds(rehearsal.cloneMs)}); stage ${seconds(rehearsal.stageMs)}, ${describeOutageParts(rehearsal)}`,
        ]),
    ...(outageMs === null ? [] : [`  outage      ${seconds(outageMs)}`]),
  ].join('\n');
}
