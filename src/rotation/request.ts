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
  /** Rotate a clone first, and boot LiteLLM on it; null: as the worker's configuration says. */
  readonly rehearse: boolean | null;
}

const shape = {
  kind: 'a rotation request',
  schema: z.strictObject({
    target: text,
    keys: z.optional(z.array(z.enum(keyNames))),
    requestedBy: z.optional(z.nullable(text)),
    reason: z.optional(z.nullable(text)),
    dryRun: z.optional(z.boolean()),
    rehearse: z.optional(z.nullable(z.boolean())),
  }),
  example: `{"target":"prod","keys":["master","salt"]}`,
  hints: {
    keys: `a list of ${keyNames.map((name) => `"${name}"`).join(' and ')}`,
    dryRun: 'true or false',
    rehearse: 'true or false',
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
    rehearse = null,
  } = parseInput(inputs, shape);
  if (keys.length === 0) refuseInput(shape, '"keys" is empty, so there is nothing to rotate');
  const asked = keyNames.filter((name) => keys.includes(name));
  return { target, keys: asked, requestedBy, reason, dryRun, rehearse };
}
