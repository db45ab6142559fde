import type { NativeConnection } from '@temporalio/worker';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { searchAttributes } from '../workflows/messages.ts';

/** `temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD` */
const keyword = 2;
const names = Object.values(searchAttributes).map(({ name }) => name);

/**
 * Makes sure that the namespace has our search attributes: a workflow that sets an unknown one is tried again for ever.
 * Throws `BadRequest` with the command to run when they are missing and may not be added from here.
 */
export async function registerSearchAttributes(
  connection: NativeConnection,
  namespace: string,
): Promise<void> {
  const missing = await missingAttributes(connection, namespace);
  if (missing.length === 0) return;
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, keyword])),
    });
  } catch {
    // Another worker may have added them in between.
    const still = await missingAttributes(connection, namespace);
    if (still.length === 0) return;
    throw new RotationError(
      failureTypes.badRequest,
      `namespace ${namespace}: found no search attributes ${still.join(', ')} and no permission to add them; expected them of type Keyword; ` +
        `run: temporal operator search-attribute create ${still.map((name) => `--name ${name} --type Keyword`).join(' ')}` +
        `; in Temporal Cloud: tcld namespace search-attributes add --namespace ${namespace} ${still.map((name) => `--search-attribute ${name}=Keyword`).join(' ')}`,
    );
  }
}

async function missingAttributes(connection: NativeConnection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return names.filter((name) => customAttributes?.[name] === undefined);
}
