import { isUtf8 } from 'node:buffer';

/** The text, or undefined when the bytes are not UTF-8. Keeps a byte order mark, which `TextDecoder` drops. */
export function decodeUtf8(bytes: Buffer): string | undefined {
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}
