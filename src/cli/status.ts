import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { searchAttributes, workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { follow, type Followed, rotation } from './following.ts';
import { describeInventory, inventoried } from './inventory.ts';
import { printable } from './printable.ts';
import { describeReconciliation, reconciled } from './reconcile.ts';
import { describeReencryption, exitCodeOf, reencryption } from './reencrypt.ts';
import { renderPhase, renderRetry, renderStep, table } from './rendering.ts';
import { describeResult, exitCodeOf as exitCodeOfRotation } from './rotate.ts';
import { needsPerson } from './rotation-end.ts';
import { withClient } from './temporal-client.ts';
import { lookAt, pausedNote, queryStatus, runningNote, unfit } from './workflow-look.ts';

/** `status`: the last rotations. */
export async function listRotations(options: { json?: boolean; limit: number }): Promise<number> {
  return withClient(async (client) => {
    const found = await lastRotations(client, options.limit);
    if (options.json === true) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    else if (found.length === 0)
      process.stdout.write('no rotation yet; start one with: litellm-rotate rotate TARGET\n');
    else {
      const rows = printable(found).map(({ workflowId, target, outcome, phase, startedAt }) => [
        startedAt,
        target,
        outcome,
        phase,
        workflowId,
      ]);
      process.stdout.write(
        `${table([['STARTED', 'TARGET', 'OUTCOME', 'PHASE', 'WORKFLOW'], ...rows]).join('\n')}\n`,
      );
    }
    return exitCodes.done;
  });
}

/** How the end of a workflow is told. */
interface Ending<T> {
  readonly followed: Followed<T>;
  describe(result: T): string;
  exitCodeOf(result: T): number;
}

/** By the type of the workflow. */
const endings: Readonly<Record<string, Ending<unknown>>> = {
  [workflowTypes.rotate]: ending(rotation, describeResult, exitCodeOfRotation),
  [workflowTypes.reconcile]: ending(reconciled, describeReconciliation),
  [workflowTypes.inventory]: ending(inventoried, describeInventory),
  [workflowTypes.reencrypt]: ending(reencryption, describeReencryption, exitCodeOf),
};

function ending<T>(
  followed: Followed<T>,
  describe: (result: T) => string,
  exitCode: (result: T) => number = () => exitCodes.done,
): Ending<T> {
  return { followed, describe, exitCodeOf: exitCode };
}

/** `status WORKFLOW-ID`: its steps, and how it ended or where it is. */
export async function showRotation(
  workflowId: string,
  options: { json?: boolean; follow?: boolean },
): Promise<number> {
  return withClient(async (client) => {
    try {
      const {
        type,
        status: { name },
      } = await client.workflow.getHandle(workflowId).describe();
      const ended = endings[type];
      if (ended !== undefined) return await showWorkflow(client, { workflowId, name }, ended, options);
      throw new CommandError(
        exitCodes.usage,
        `workflow ${workflowId}: found a ${type}; expected one of ${Object.keys(endings).join(', ')}`,
        ['litellm-rotate status   (lists the rotations)'],
      );
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new CommandError(exitCodes.usage, `workflow ${workflowId}: found none of that id`, [
        'litellm-rotate status   (lists them)',
      ]);
    }
  });
}

async function showWorkflow<T>(
  client: Client,
  { workflowId, name }: { readonly workflowId: string; readonly name: string },
  ending: Ending<T>,
  options: { json?: boolean; follow?: boolean },
): Promise<number> {
  if (options.follow === true) {
    const result = await follow(client, workflowId, ending.followed);
    process.stdout.write(
      `${options.json === true ? JSON.stringify(result, null, 2) : ending.describe(result)}\n`,
    );
    return ending.exitCodeOf(result);
  }
  const handle = client.workflow.getHandle(workflowId);
  const status = await queryStatus(handle);
  if (status === undefined && (name === 'RUNNING' || options.json === true))
    throw unanswered(workflowId, (await lookAt(handle)).refused);
  if (status !== undefined && options.json === true)
    process.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
  if (status !== undefined && options.json !== true) {
    const { note, retry } =
      name === 'RUNNING' ? await runningNote(handle, status) : { note: '', retry: null };
    const lines = status.steps.flatMap((step, index) => [
      ...(step.phase === status.steps[index - 1]?.phase ? [] : [renderPhase(step.phase)]),
      step.state === 'running' && note !== '' ? `  … ${note}` : renderStep(step),
    ]);
    if (retry !== null) lines.push(renderRetry(retry));
    process.stdout.write(
      `${[...lines, `${status.target}: ${describeOutcome(name, status.outcome)}${name === 'RUNNING' ? `, phase ${status.phase}` : ''}`].join('\n')}\n`,
    );
  }
  if (status?.outcome === 'paused' && options.json !== true)
    process.stdout.write(`${pausedNote(workflowId, status)}\n`);
  if (status?.outcome === 'needs a person' && name === 'RUNNING') throw needsPerson(workflowId, status);
  if (name === 'RUNNING') return exitCodes.done;
  const result = await ending.followed.resultOf(handle);
  if (options.json !== true) process.stdout.write(`${ending.describe(result)}\n`);
  return ending.exitCodeOf(result);
}

/** The steps are known to the workflow, which a worker answers for. */
function unanswered(workflowId: string, refused: boolean): CommandError {
  return new CommandError(
    exitCodes.finding,
    `workflow ${workflowId}: ${refused ? unfit : 'found no worker that answers for it; expected one on its task queue'}`,
    ['litellm-rotate doctor   (counts the workers)', 'systemctl start litellm-rotate-worker'],
  );
}

/** A workflow that was ended by force, refused at its start, or taken by no worker yet could not say so itself. */
function describeOutcome(status: string, outcome: string): string {
  return status === 'TERMINATED' || status === 'TIMED_OUT' || outcome === '-'
    ? status.toLowerCase().replace('_', ' ')
    : outcome;
}

async function lastRotations(client: Client, limit: number) {
  const found: {
    workflowId: string;
    target: string;
    outcome: string;
    phase: string;
    startedAt: string;
    status: string;
  }[] = [];
  const query = "WorkflowType = 'RotateMasterKey'";
  for await (const { workflowId, startTime, status, typedSearchAttributes } of client.workflow.list({
    query,
  })) {
    const attribute = (key: (typeof searchAttributes)[keyof typeof searchAttributes]) =>
      typedSearchAttributes.get(key) ?? '-';
    found.push({
      workflowId,
      target: attribute(searchAttributes.target),
      outcome: describeOutcome(status.name, attribute(searchAttributes.outcome)),
      phase: attribute(searchAttributes.phase),
      startedAt: startTime.toISOString(),
      status: status.name,
    });
    if (found.length === limit) break;
  }
  return found;
}
