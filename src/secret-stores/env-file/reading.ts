/**
 * One assignment, as the reader of its file takes it. Texts are latin1, one character a byte, so that offsets are byte
 * offsets and bytes that are not UTF-8 survive.
 */
export interface Assignment {
  readonly name: string;
  /** What the reader hands to the service; meaningless when `literal` is false. */
  readonly value: string;
  /** Counted from 1; the line on which the name stands. */
  readonly line: number;
  readonly nameStart: number;
  /** The value as written, with its quotes; empty for `NAME=`. */
  readonly valueStart: number;
  readonly valueEnd: number;
  /** False when the reader expands or executes something in the value. */
  readonly literal: boolean;
  /** Whether a process started by the reader sees it. */
  readonly exported: boolean;
}

/** What a reader does with a line besides assigning. */
export interface Remark {
  readonly kind:
    /** The reader refuses the file, or loses what comes after the line. */
    | 'refused'
    /** A quote that is opened on the line is never closed. */
    | 'unclosed-quote'
    /** The line runs a command. */
    | 'command'
    /** The line can change what the rest of the file means: control flow, `unset`, another sourced file. */
    | 'control';
  readonly line: number;
  /** A noun phrase without any value: `a NUL byte`. */
  readonly what: string;
}

export interface EnvFileReading {
  /** In the order of the file. */
  readonly assignments: readonly Assignment[];
  readonly remarks: readonly Remark[];
}

export const byteOrderMark = '\xef\xbb\xbf';

/** Returns a function from an offset to its line number, counted from 1. Lines end in LF, as an editor counts them. */
export function createLineFinder(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

/** Where the line that holds `offset` starts. */
export function lineStart(text: string, offset: number): number {
  return offset === 0 ? 0 : text.lastIndexOf('\n', offset - 1) + 1;
}

/** Where the line that holds `offset` ends, its line ending included. */
export function lineEnd(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset);
  return newline === -1 ? text.length : newline + 1;
}
