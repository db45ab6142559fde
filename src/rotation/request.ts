import * as z from 'zod/mini';
import { failureTypes, RotationError } from './failure.ts';
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

// The workflow sandbox has no `new Function`; without this, zod would probe for it.
z.config({ jitless: true });

const text = z.string().check(z.minLength(1), z.maxLength(500));
const schema = z.strictObject({
  target: text,
  keys: z.optional(z.array(z.enum(keyNames))),
  requestedBy: z.optional(z.nullable(text)),
  reason: z.optional(z.nullable(text)),
  dryRun: z.optional(z.boolean()),
});
const fields = Object.keys(schema.shape).join(', ');
const example = `{"target":"prod","keys":["master","salt"]}`;

function refuse(problem: string): never {
  throw new RotationError(
    failureTypes.badRequest,
    `the input is not a rotation request: ${problem}; expected, for example, ${example}`,
  );
}

/**
 * Reads the workflow's input, whoever wrote it. Throws `BadRequest` with one sentence that names the field.
 * An empty list of keys is refused rather than read as "both": it says that nothing is to be rotated.
 */
export function parseRequest(inputs: readonly unknown[]): RotationRequest {
  if (inputs.length !== 1) refuse(`found ${inputs.length} arguments, expected one`);
  const [input] = inputs;
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof Uint8Array)
    refuse(`found ${kindOf(input)}, expected a JSON object`);
  const parsed = schema.safeParse(input);
  if (!parsed.success) return refuse(describeIssue(parsed.error.issues[0], input));
  const { target, requestedBy = null, reason = null, dryRun = false } = parsed.data;
  const keys = parsed.data.keys ?? keyNames;
  if (keys.length === 0) refuse('"keys" is empty, so there is nothing to rotate');
  return { target, keys: keyNames.filter((name) => keys.includes(name)), requestedBy, reason, dryRun };
}

function describeIssue(issue: z.core.$ZodIssue | undefined, input: object): string {
  if (issue === undefined) return 'it is not valid';
  if (issue.code === 'unrecognized_keys') {
    return `unknown field ${issue.keys.map((key) => `"${key}"`).join(', ')}; the fields are ${fields}`;
  }
  const path = issue.path.map(String).join('.');
  if (issue.path[0] !== undefined && !(issue.path[0] in input)) return `"${path}" is missing`;
  if (issue.path[0] === 'keys')
    return `"${path}" must be a list of ${keyNames.map((name) => `"${name}"`).join(' and ')}`;
  if (issue.path[0] === 'dryRun') return `"dryRun" must be true or false`;
  return `"${path}" must be a text of 1 to 500 characters`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Uint8Array) return 'bytes that are not JSON';
  return `a ${typeof value}`;
}
