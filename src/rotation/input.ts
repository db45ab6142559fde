import * as z from 'zod/mini';
import { failureTypes, RotationError } from './failure.ts';

// The workflow sandbox has no `new Function`; without this, zod would probe for it.
z.config({ jitless: true });

/** A text that a person writes: a name, a reason. It is recorded as jsonb, which takes no NUL and no half of a character. */
export const text = z
  .string()
  .check(z.minLength(1), z.maxLength(500), z.regex(/^(?:[^\p{Cc}\p{Cs}]|[\n\t])*$/u));

/** What a workflow is given, as its refusals speak of it. */
export interface InputShape<Schema extends z.ZodMiniObject> {
  /** With its article: `a rotation request`. */
  readonly kind: string;
  readonly schema: Schema;
  /** A right one, as JSON. */
  readonly example: string;
  /** By field, what it must be, where that is not a text. */
  readonly hints: Readonly<Record<string, string>>;
}

/** Reads a workflow's input, whoever wrote it. Throws `BadRequest` with one sentence that names the field. */
export function parseInput<Schema extends z.ZodMiniObject>(
  inputs: readonly unknown[],
  shape: InputShape<Schema>,
): z.infer<Schema> {
  if (inputs.length !== 1) refuseInput(shape, `found ${inputs.length} arguments, expected one`);
  const [input] = inputs;
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof Uint8Array)
    refuseInput(shape, `found ${kindOf(input)}, expected a JSON object`);
  const parsed = shape.schema.safeParse(input);
  if (!parsed.success) refuseInput(shape, describeIssue(parsed.error.issues[0], input, shape));
  return parsed.data;
}

/** Refuses an input for what no schema says. */
export function refuseInput(
  { kind, example }: Pick<InputShape<never>, 'kind' | 'example'>,
  problem: string,
): never {
  throw new RotationError(
    failureTypes.badRequest,
    `the input is not ${kind}: ${problem}; expected, for example, ${example}`,
  );
}

function describeIssue(
  issue: z.core.$ZodIssue | undefined,
  input: object,
  { schema, hints }: Pick<InputShape<z.ZodMiniObject>, 'schema' | 'hints'>,
): string {
  if (issue === undefined) return 'it is not valid';
  if (issue.code === 'unrecognized_keys') {
    const fields = Object.keys(schema.shape).join(', ');
    return `unknown field ${issue.keys.map((key) => `"${key}"`).join(', ')}; the fields are ${fields}`;
  }
  const path = issue.path.map(String).join('.');
  const field = String(issue.path[0]);
  if (issue.path[0] !== undefined && !(field in input)) return `"${path}" is missing`;
  return `"${path}" must be ${hints[field] ?? 'a text of 1 to 500 characters, without control characters'}`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Uint8Array) return 'bytes that are not JSON';
  return `a ${typeof value}`;
}
