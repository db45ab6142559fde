import { isUtf8 } from 'node:buffer';
import { byteOrderMark, createLineFinder } from './reading.ts';
import type { Assignment, EnvFileReading, Remark } from './reading.ts';

/** The longest line that the docker command line takes: Go's bufio.MaxScanTokenSize. */
const longestLine = 64 * 1024;

/**
 * Reads a file as `docker run --env-file` (28.2) and Compose's `format: raw` do: everything behind `=` is the value,
 * quotes, spaces and comments included; a name with white space in it (`export NAME`) makes docker refuse the file.
 * Source: docker/cli, pkg/kvfile/kvfile.go.
 */
export function readDocker(text: string): EnvFileReading {
  const lineAt = createLineFinder(text);
  const assignments: Assignment[] = [];
  const remarks: Remark[] = [];
  const refuse = (offset: number, what: string): void => {
    remarks.push({ kind: 'refused', line: lineAt(offset), what });
  };

  let next = 0;
  while (next < text.length) {
    const start = next;
    const newline = text.indexOf('\n', start);
    next = newline === -1 ? text.length : newline + 1;
    let end = newline === -1 ? text.length : newline;
    if (end - start >= longestLine) refuse(start, 'a line of 64 KiB or more');
    if (text[end - 1] === '\r' && end > start) end -= 1;
    if (!isUtf8(Buffer.from(text.slice(start, end), 'latin1'))) refuse(start, 'bytes that are not UTF-8');

    let nameStart = start;
    if (start === 0 && text.startsWith(byteOrderMark)) nameStart += byteOrderMark.length;
    while (nameStart < end && /[ \t\v\f\r]/.test(text[nameStart]!)) nameStart += 1;
    if (nameStart === end || text[nameStart] === '#') continue;

    const equals = text.slice(nameStart, end).indexOf('=');
    const name = equals === -1 ? text.slice(nameStart, end) : text.slice(nameStart, nameStart + equals);
    if (name === '') refuse(start, 'a line without a name');
    else if (/[ \t]/.test(name)) refuse(start, 'a name with white space in it');
    else if (equals !== -1) {
      const valueStart = nameStart + equals + 1;
      assignments.push({
        name,
        value: text.slice(valueStart, end),
        line: lineAt(start),
        nameStart,
        valueStart,
        valueEnd: end,
        literal: true,
        exported: true,
      });
    }
  }
  return { assignments, remarks };
}
