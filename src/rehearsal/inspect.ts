import { escapeIdentifier } from 'pg';
import type { Proxy } from '../litellm/proxy-port.ts';
import type { Finding } from '../rotation/finding.ts';
import { programPath } from '../services/host.ts';
import { isRunnable } from '../services/runnable.ts';
import { judgeClientVersions, readClientVersions } from './client-programs.ts';
import type { CloneOptions } from './clone.ts';

interface Spare {
  readonly program: string;
  readonly cwd: string | undefined;
  readonly proxy: Proxy;
}

/** What would keep a rehearsal from its work. Every one is blocking: it was asked for, and half of one proves nothing. */
export async function inspectRehearsal(options: CloneOptions, spare: Spare): Promise<readonly Finding[]> {
  return [
    ...(await judgeRole(options)),
    ...(options.method === 'template' ? [] : await judgeDump(options)),
    ...(await judgeSpare(spare)),
  ];
}

const blocking = (finding: Omit<Finding, 'severity'>): Finding => ({ severity: 'blocking', ...finding });

const readRole = `
  select rolname as role, rolsuper or rolcreatedb as may from pg_roles where rolname = current_user`;

async function judgeRole({ server: { connections } }: CloneOptions): Promise<Finding[]> {
  const role = await connections.session('looking at the role of the rehearsal', async (client) => {
    return (await client.query<{ role: string; may: boolean }>(readRole)).rows[0];
  });
  if (role === undefined || role.may) return [];
  return [
    blocking({
      code: 'rehearsal-no-createdb',
      where: connections.description,
      found: `role ${role.role} without CREATEDB`,
      expected: 'a role that may create the database of a rehearsal',
      next: `run as a superuser: alter role ${escapeIdentifier(role.role)} createdb; or give rehearsal.server another role`,
    }),
  ];
}

const readSource = `
  select current_setting('server_version_num')::int / 10000 as major, current_user as role,
    (select count(*)::int from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and case when c.relkind = 'S' then not has_sequence_privilege(c.oid, 'SELECT') end) as sequences`;

async function judgeDump({ source: { connections }, schema, searchPath }: CloneOptions): Promise<Finding[]> {
  const source = await connections.session('looking at what a dump needs', async (client) => {
    return (await client.query<{ major: number; role: string; sequences: number }>(readSource, [schema]))
      .rows[0];
  });
  if (source === undefined) return [];
  const findings = judgeClientVersions(await readClientVersions(searchPath), source.major);
  if (source.sequences > 0) {
    findings.push(
      blocking({
        code: 'rehearsal-unreadable-sequences',
        where: `schema ${schema} of ${connections.description}`,
        found: `${source.sequences} sequences without SELECT for role ${source.role}`,
        expected: 'SELECT on all, which pg_dump needs',
        next: `run as their owner: grant select on all sequences in schema ${escapeIdentifier(schema)} to ${escapeIdentifier(source.role)}`,
      }),
    );
  }
  return findings;
}

async function judgeSpare({ program, cwd, proxy }: Spare): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (!(await isRunnable(program, { cwd, searchPath: programPath }))) {
    findings.push(
      blocking({
        code: 'rehearsal-no-program',
        where: 'rehearsal.start',
        found: `no program ${program} that can be run`,
        expected: 'the program that starts LiteLLM in the foreground',
        next: 'correct rehearsal.start in the configuration; an absolute path is the safest',
      }),
    );
  }
  if (await proxy.isListening()) {
    findings.push(
      blocking({
        code: 'rehearsal-port-taken',
        where: proxy.url,
        found: 'something that listens there',
        expected: 'a free port',
        next: 'end it, or change rehearsal.port in the configuration',
      }),
    );
  }
  return findings;
}
