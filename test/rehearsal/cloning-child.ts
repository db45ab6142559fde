// Looks before a rehearsal and makes its clone by dump, in a process with another PATH; prints what it found, and the rows of
// the clone.
import { withClient } from '../../lab/postgres.ts';
import { dump } from '../reencryption/database.ts';
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

/** What it prints, as JSON. */
export interface Cloned {
  readonly findings: readonly { readonly found: string }[];
  /** How the cloning failed. */
  readonly error: string | undefined;
  readonly cloned: Awaited<ReturnType<typeof dump>> | undefined;
}

const url = process.env.CLONE_URL ?? '';
const rehearsal = rehearsalOf(url, { clone: 'dump' });
const findings = (await rehearsal.inspect()).filter(({ code }) => code.startsWith('rehearsal-no-pg-'));
const error = await rehearsal
  .clone(fenceOf('r1'), new AbortController().signal)
  .then(() => undefined, String);
const clone = url.replace(/[^/]+$/, 'litellm_rotate_rehearsal_r1');
const cloned = error === undefined ? await withClient(clone, (client) => dump(client)) : undefined;
await rehearsal.destroy('r1');
await rehearsal.close();
process.stdout.write(JSON.stringify({ findings, error, cloned } satisfies Cloned));
