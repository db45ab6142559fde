import { readFileSync } from 'node:fs';
import { type Document, LineCounter, type Node, parseDocument } from 'yaml';
import type * as z from 'zod';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { type Config, configSchema } from './schema.ts';

/**
 * Reads and validates a configuration file, whole: every mistake with its line and path. Throws `BadRequest` for a
 * file that cannot be read, is not YAML, or does not validate.
 */
export function readConfig(path: string): Config {
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (error) {
    const { code = 'an error' } = error as NodeJS.ErrnoException;
    throw bad(
      `${path}: found ${code} when reading it; expected a configuration file; name one with --config or LITELLM_ROTATE_CONFIG`,
    );
  }
  return parseConfig(source, path);
}

/** As `readConfig`, for a text; `path` is what the mistakes name. */
export function parseConfig(source: string, path: string): Config {
  const lineCounter = new LineCounter();
  const document = parseDocument(source, { lineCounter, prettyErrors: false });
  const [syntax] = document.errors;
  if (syntax !== undefined) {
    const { line, col } = lineCounter.linePos(syntax.pos[0]);
    throw bad(
      `${path}:${line}:${col}: found YAML that does not parse (${syntax.code.toLowerCase().replaceAll('_', ' ')}); mend the line`,
    );
  }
  const parsed = configSchema.safeParse(valuesOf(document, path), { reportInput: true });
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.map((issue) => {
    const line = lineOf(issue.path);
    return `${path}${line === undefined ? '' : `:${line}`}: ${issue.path.map(String).join('.') || 'the file'}: ${describe(issue)}`;
  });
  throw bad(mistakes.join('\n'));

  /** The line of the node that a mistake is about, or of the nearest one around it that is there. */
  function lineOf(keys: readonly PropertyKey[]): number | undefined {
    for (let depth = keys.length; depth > 0; depth -= 1) {
      const node = document.getIn(keys.slice(0, depth), true) as Node | undefined;
      if (node?.range) return lineCounter.linePos(node.range[0]).line;
    }
    return undefined;
  }
}

function valuesOf(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS();
  } catch {
    throw bad(
      `${path}: found an alias (*name) that leads nowhere, or to too much; expected one of an anchor (&name) before it`,
    );
  }
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `unknown ${issue.keys.map((key) => `"${key}"`).join(', ')}`;
  if (issue.code === 'invalid_type' && issue.input === undefined)
    return `missing; expected ${issue.expected}`;
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  return issue.message.replace(/^Invalid \w+: /, '');
}

function bad(message: string): RotationError {
  return new RotationError(failureTypes.badRequest, message);
}
