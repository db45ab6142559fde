import type { Finding } from '../../rotation/finding.ts';
import type { EnvFileText } from './effective.ts';
import { byteOrderMark, lineStart } from './reading.ts';

/** A line that a person would take for an assignment, whatever its reader makes of it. */
const assignmentLike =
  /^(?:\xef\xbb\xbf)?[ \t]*(?:(?<declares>export|declare|typeset|readonly|local|set|env)[ \t][^=\n]*?)?(?<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*\+?[=:]/gm;

/**
 * What keeps a reader from seeing the lines of one file as a person does: `export` where it is not understood, lines
 * swallowed by a quote, a continuation or a comment, and files that the reader refuses.
 */
export function lineFindings(file: EnvFileText, names: ReadonlySet<string>): Finding[] {
  const findings: Finding[] = [...unreadLines(file, names), ...swallowingComments(file, names)];
  for (const { kind, line, what } of file.reading.remarks) {
    const where = `${file.path}:${line}`;
    if (findings.some((finding) => finding.code === 'exported-line-unread' && finding.where === where))
      continue;
    const concernsUs = mentions(file.text, names);
    findings.push({
      severity: kind === 'command' || !concernsUs ? 'warning' : 'blocking',
      code: {
        refused: 'file-refused',
        'unclosed-quote': 'unclosed-quote',
        command: 'command-in-file',
        control: 'control-flow',
      }[kind],
      where,
      found: what,
      expected: `lines that ${file.reader} reads as NAME=value`,
      next: 'correct the line, or delete it or comment it out',
    });
  }
  if (file.text.startsWith(byteOrderMark)) {
    findings.push({
      severity: mentions(file.text.split('\n', 1)[0]!, names) ? 'blocking' : 'warning',
      code: 'byte-order-mark',
      where: `${file.path}:1`,
      found: 'a byte order mark in front of the first line, which systemd and shells take for a part of it',
      expected: 'no byte order mark',
      next: `remove it: sed -i '1s/^\\xef\\xbb\\xbf//' ${file.path}`,
    });
  }
  return findings;
}

function unreadLines(file: EnvFileText, names: ReadonlySet<string>): Finding[] {
  const findings: Finding[] = [];
  const read = new Set(file.reading.assignments.map(({ name, line }) => `${name}:${line}`));
  let line = 1;
  let counted = 0;
  for (const match of file.text.matchAll(assignmentLike)) {
    const { name, declares } = match.groups as { name: string; declares?: string };
    for (; counted < match.index; counted += 1) if (file.text[counted] === '\n') line += 1;
    if (read.has(`${name}:${line}`)) continue;
    const where = `${file.path}:${line}`;
    const ours = names.has(name);
    if (declares === 'export' && (file.reader === 'systemd' || file.reader === 'docker')) {
      findings.push({
        severity: ours || file.reader === 'docker' ? 'blocking' : 'warning',
        code: 'exported-line-unread',
        where,
        found:
          file.reader === 'systemd'
            ? `\`export ${name}=\`, which systemd ignores: the service does not see it, and at every start systemd prints the line, with the value, into the journal`
            : `\`export ${name}=\`, for which docker refuses the file`,
        expected: `${name}=value without \`export\``,
        next: `write line ${line} as ${name}=value; a shell then reads the file with: set -a; . ${file.path}; set +a`,
      });
    } else if (ours) {
      findings.push({
        severity: 'blocking',
        code: 'line-not-read',
        where,
        found: `a line that looks like an assignment of ${name} and that ${file.reader} does not read as one: by its form, or because a quote or backslash before it swallows it`,
        expected: `${name}=value on a line of its own`,
        next: `write line ${line} as ${name}=value, and close the quote or remove the backslash before it`,
      });
    }
  }
  return findings;
}

/** systemd before 254 takes the line behind a comment that ends in a backslash for a part of the comment. */
function swallowingComments(file: EnvFileText, names: ReadonlySet<string>): Finding[] {
  if (file.reader !== 'systemd') return [];
  return file.reading.assignments
    .filter(({ name }) => names.has(name))
    .filter(({ nameStart }) => {
      const start = lineStart(file.text, nameStart);
      const before = file.text.slice(lineStart(file.text, Math.max(0, start - 1)), start);
      return /^[ \t]*[#;].*\\\r?\n$/.test(before);
    })
    .map(({ name, line }) => ({
      severity: 'blocking',
      code: 'line-not-read',
      where: `${file.path}:${line}`,
      found: `${name} behind a comment that ends in a backslash: systemd before 254 takes the line for a part of the comment`,
      expected: 'no backslash at the end of a comment',
      next: `remove the backslash at the end of line ${line - 1}`,
    }));
}

function mentions(text: string, names: ReadonlySet<string>): boolean {
  return [...names].some((name) => text.includes(name));
}
