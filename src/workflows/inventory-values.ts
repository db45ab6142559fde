import { setHandler, workflowInfo } from '@temporalio/workflow';
import { parseInventoryRequest, type ValueInventory } from '../rotation/inventory.ts';
import { readInput, refusedInventory } from './failures.ts';
import { statusQuery } from './messages.ts';
import { firstValues, looks } from './policies.ts';
import { Progress } from './progress.ts';

/** Counts every sealed value of a target: `{ "target": "prod", "rows": true }`. Reads only, and takes no lease. */
export async function InventoryValues(...inputs: unknown[]): Promise<ValueInventory> {
  const { target, rows } = readInput(inputs, parseInventoryRequest);
  const job = { target, rotation: workflowInfo().firstExecutionRunId };
  const progress = new Progress(job.rotation, target);
  setHandler(statusQuery, () => progress.status, { description: 'How far the look is' });
  try {
    await looks.findTarget.executeWithOptions(
      { summary: `Find target ${target} in the worker's configuration` },
      [job],
    );
    const found = await progress.run(
      firstValues.inventoryValues,
      { ...job, rows },
      'Find every sealed value in the database',
      (inventory) => `${inventory.values} values in ${inventory.columns} columns`,
    );
    progress.enter('done', 'planned');
    return found;
  } catch (failure) {
    throw refusedInventory(target, failure);
  }
}
