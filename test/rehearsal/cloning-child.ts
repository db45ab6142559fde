// Looks before a rehearsal and makes its clone by dump, in a process whose file system is another; prints what it found.
import { fenceOf, rehearsalOf } from './rehearsal-of.ts';

const rehearsal = rehearsalOf(process.env.CLONE_URL ?? '', { clone: 'dump' });
const findings = await rehearsal.inspect();
const error = await rehearsal.clone(fenceOf('r1'), new AbortController().signal).catch(String);
await rehearsal.destroy('r1');
await rehearsal.close();
process.stdout.write(JSON.stringify({ findings, error }));
