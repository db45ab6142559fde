import type { ValueInventory } from '../rotation/inventory.ts';
import { workflowTypes } from '../workflows/messages.ts';
import { CommandError, exitCodes } from './exit.ts';
import { follow, type Followed } from './following.ts';
import { kindOf, placeOf, renderRows, renderSkipped, table } from './rendering.ts';
import { requester } from './requester.ts';
import { forgottenLook, resultOf } from './rotation-end.ts';
import { withClient } from './temporal-client.ts';

export interface InventoryOptions {
  readonly rows?: boolean;
  readonly taskQueue: string;
  readonly json?: boolean;
}

/** `inventory TARGET`: every sealed value by table, column, key and format. */
export async function inventory(target: string, options: InventoryOptions): Promise<number> {
  return withClient(async (client) => {
    const { workflowId } = await client.workflow.start(workflowTypes.inventory, {
      args: [{ target, rows: options.rows === true, requestedBy: requester() }],
      taskQueue: options.taskQueue,
      workflowId: `inventory-${target}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`,
      staticSummary: `Count the sealed values of ${target}`,
    });
    process.stderr.write(`litellm-rotate: inventory of ${target}: workflow ${workflowId}\n`);
    const found = await follow(client, workflowId, inventoried);
    process.stdout.write(
      `${options.json === true ? JSON.stringify(found, null, 2) : describeInventory(found)}\n`,
    );
    return exitCodes.done;
  });
}

/** How the end of a look is read: whatever ended it, nothing was changed. */
export const inventoried: Followed<ValueInventory> = {
  async resultOf(handle) {
    try {
      return (await resultOf(handle)) as unknown as ValueInventory;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      const { exitCode } = error;
      if (exitCode !== exitCodes.rolledBack && exitCode !== exitCodes.needsPerson) throw error;
      throw new CommandError(exitCodes.finding, 'the look was ended before its end; nothing was changed');
    }
  },
  detached: (workflowId) =>
    new CommandError(exitCodes.detached, 'no longer following; the look goes on', [
      `litellm-rotate status ${workflowId}`,
    ]),
  forgotten: forgottenLook,
};

export function describeInventory(found: ValueInventory): string {
  const { description, lines, values, rows, columns, skipped, listed, unlisted } = found;
  const cells = lines.map((line) => [placeOf(line), ...kindOf(line)]);
  return [
    `${description}: ${values} sealed values in ${rows} rows and ${columns} columns`,
    ...[...table(cells), ...renderSkipped(skipped)].map((line) => `  ${line}`),
    ...renderRows(listed ?? [], unlisted),
  ].join('\n');
}
