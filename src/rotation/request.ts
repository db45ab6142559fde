import * as z from 'zod/mini';
import { parseInput, refuseInput, text } from './input.ts';
import { keyNames, type KeyName } from './keys.ts';

/** What a person, a schedule or a program asks for. No secrets, no connection strings: the worker knows the target. */
export interface RotationRequest {
  /** A target of the worker's configuration file. */
  readonly target: string;
  /** What to rotate; both when not said. */
  readonly keys: readonly KeyName[];
  /** Who asks, for the record. */
  readonly requestedBy: string | null;
  /** Why, for the record: a ticket, a policy. */
  readonly reason: string | null;
  /** Stop after the plan: nothing is touched. */
  readonly dryRun: boolean;
}

const shape = {
  kind: 'a rotation request',
  schema: z.strictObject({
    target: text,
    keys: z.optional(z.array(z.enum(keyNames))),
    requestedBy: z.optional(z.nullable(text)),
    reason: z.optional(z.nullable(text)),
    dryRun: z.optional(z.boolean()),
  }),
  example: `{"target":"prod","keys":["master","salt"]}`,
  hints: {
    keys: `a list of ${keyNames.map((name) => `"${name}"`).join(' and ')}`,
    dryRun: 'true or false',
  },
};

/**
 * Reads the workflow's input, whoever wrote it. Throws `BadRequest` with one sentence that names the field.
 * An empty list of keys is refused rather than read as "both": it says that nothing is to be rotated.
 */
export function parseRequest(inputs: readonly unknown[]): RotationRequest {
  const {
    target,
    keys = keyNames,
    requestedBy = null,
    reason = null,
    dryRun = false,
  } = parseInput(inputs, shape);
  if (keys.length === 0) refuseInput(shape, '"keys" is empty, so there is nothing to rotate');
  return { target, keys: keyNames.filter((name) => keys.includes(name)), requestedBy, reason, dryRun };
}
