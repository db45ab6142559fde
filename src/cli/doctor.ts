import { type Composition, strangerFinding } from '../composition.ts';
import { type Finding, isBlocking } from '../rotation/finding.ts';
import { RotationError } from '../rotation/failure.ts';
import type { Secret } from '../rotation/secret.ts';
import { temporalSettings } from '../temporal/connection.ts';
import { exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { renderFinding } from './rendering.ts';
import { withClient } from './temporal-client.ts';

type Target = Composition['targets'][number];

interface Check {
  readonly what: string;
  readonly detail: string;
  readonly findings: readonly Finding[];
}

/** `doctor`: looks at every part from this machine, with the worker's own configuration. Changes nothing. */
export async function doctor(
  composition: Composition,
  taskQueue: string,
  options: { json?: boolean },
): Promise<number> {
  const checks: Check[] = [await checkTemporal(taskQueue)];
  for (const { name, store, service, proxies, database, rehearsal } of composition.targets) {
    const of = (part: string) => `${name}: ${part}`;
    const { current, ...secrets } = await attempt(of(store.description), async () => {
      const inspection = await store.inspect();
      return {
        detail: `${inspection.places.length} places`,
        findings: inspection.findings,
        current: inspection.current,
      };
    });
    checks.push(secrets);
    checks.push(
      await attempt(of(service.description), async () => {
        const { findings, state } = await service.inspect();
        return { detail: state.detail, findings };
      }),
    );
    checks.push(
      await attempt(of(database.description), async () => ({
        detail: 'reached',
        findings: await database.inspect(),
      })),
    );
    if (rehearsal !== undefined) {
      checks.push(
        await attempt(of(`rehearsal on ${rehearsal.description}`), async () => {
          const findings = await rehearsal.inspect();
          return { detail: findings.some(isBlocking) ? 'not possible' : 'possible', findings };
        }),
      );
    }
    for (const proxy of proxies)
      checks.push(await attempt(of(proxy.url), () => checkProxy(proxy, service, current?.master)));
  }
  const blocked = checks.some(({ findings }) => findings.some(isBlocking));
  if (options.json === true) process.stdout.write(`${JSON.stringify(checks, null, 2)}\n`);
  else process.stdout.write(`${printable(checks).map(renderCheck).join('\n')}\n`);
  return blocked ? exitCodes.finding : exitCodes.done;
}

/** Whether LiteLLM serves, and accepts the key; which nobody else is sent. */
export async function checkProxy(
  proxy: Target['proxies'][number],
  service: Target['service'],
  key: Secret | undefined,
): Promise<Omit<Check, 'what'>> {
  const stranger = await strangerFinding({ proxies: [proxy], service });
  if (stranger !== undefined) return { detail: 'not asked', findings: [stranger] };
  const { ready, detail } = await proxy.readiness();
  if (!ready) throw new Error(detail);
  if (key !== undefined && (await proxy.tryKey(key)) !== 'accepted')
    throw new Error('that it refuses the master key of the secret files');
  return { detail, findings: [] };
}

async function checkTemporal(taskQueue: string): Promise<Check> {
  const { connectionOptions, namespace } = temporalSettings(process.env);
  return attempt(`Temporal at ${connectionOptions.address}, namespace ${namespace}`, () =>
    withClient(async ({ workflowService }) => {
      const { pollers } = await workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: taskQueue },
      });
      const workers = countPolling(pollers ?? []);
      if (workers > 0) return { detail: `${workers} worker(s) on task queue ${taskQueue}`, findings: [] };
      const finding: Finding = {
        severity: 'warning',
        code: 'no-worker',
        where: `task queue ${taskQueue}`,
        found: 'no worker that polls it',
        expected: 'at least one',
        next: 'run: litellm-rotate worker',
      };
      return { detail: 'reached', findings: [finding] };
    }),
  );
}

/** Temporal lists a worker for five minutes after its end; one that lives polls once a minute. */
export function countPolling(
  pollers: readonly { readonly lastAccessTime?: { readonly seconds?: unknown } | null }[],
  now = Date.now(),
): number {
  return pollers.filter(({ lastAccessTime }) => now - Number(lastAccessTime?.seconds ?? 0) * 1000 < 90_000)
    .length;
}

async function attempt<T extends Omit<Check, 'what'>>(
  what: string,
  look: () => Promise<T>,
): Promise<Check & Partial<T>> {
  try {
    return { what, ...(await look()) };
  } catch (error) {
    // Only errors written to be read pass; a driver's text may hold a secret.
    const known = error instanceof RotationError || (error instanceof Error && error.constructor === Error);
    const found = known ? (error as Error).message : 'an error whose text is withheld';
    const finding: Finding = {
      severity: 'blocking',
      code: 'out-of-reach',
      where: what,
      found,
      expected: 'an answer',
      next: 'mend it and run doctor again',
    };
    return { what, detail: 'out of reach', findings: [finding] } as unknown as Check & Partial<T>;
  }
}

function renderCheck({ what, detail, findings }: Check): string {
  const bad = findings.some(isBlocking);
  return [`${bad ? '✗' : '✓'} ${what}: ${detail}`, ...findings.map((finding) => renderFinding(finding))].join(
    '\n',
  );
}
