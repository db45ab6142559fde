import { isUtf8 } from 'node:buffer';

/** The text, or undefined when the bytes are not UTF-8. Keeps a byte order mark, which `TextDecoder` drops. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
    : undefined;
}
