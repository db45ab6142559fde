import { userInfo } from 'node:os';

/** Who asks, for the record: the user's name, or in a container, whose users need not have one, the user's number. */
export function requester(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
