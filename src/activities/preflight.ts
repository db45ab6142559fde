import { createHash } from 'node:crypto';
import { findDecryptionErrors } from '../litellm/decryption-errors.ts';
import { knownKeys } from '../litellm/known-keys.ts';
import type { Inventory, VisitValue } from '../reencryption/port.ts';
import { decideCase, type RotationCase } from '../rotation/case.ts';
import type { ReportProgress } from '../rotation/fence.ts';
import { describeFinding, type Finding } from '../rotation/finding.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { createRowList, type ValueInventory } from '../rotation/inventory.ts';
import type { KeyName, KeyPair } from '../rotation/keys.ts';
import type { PlanParts } from '../rotation/plan-parts.ts';
import { takeFence, withHeartbeat } from './context.ts';
import { fingerprintsOf } from './generations.ts';
import { type Job, type Ports, type Target } from './ports.ts';
import { randomKey, type SeenModels, seeModels } from './proofs.ts';

/** How far back the service's log is read. */
export const logLines = 2_000;

/** The read-only looks at every part, before anything is touched. */
export function createPreflightActivities(ports: Ports) {
  return {
    /** Reads the key files the way the service's loader does. */
    async inspectSecrets(
      job: Job & { keys: readonly KeyName[] },
    ): Promise<{ secrets: PlanParts['secrets']; rotationCase: RotationCase }> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const { current, findings, places } = await target.store.inspect(job.rotation);
        if (current === undefined) throw refusal(findings);
        const rotationCase = decideCase(current.salt !== undefined, job.keys);
        return {
          rotationCase,
          secrets: {
            description: target.store.description,
            current: await fingerprintsOf(ports, target, current),
            places: places
              .filter(({ key }) => rotationCase.rotate.includes(key))
              .map(({ where, name, action }) => ({ where, name, action })),
            findings,
          },
        };
      });
    },

    /** Looks at the service, and whether its process was given the keys that the files hold. */
    async inspectService(job: Job): Promise<PlanParts['service']> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const { findings, state } = await target.service.inspect();
        const all = [...findings];
        if (state.state === 'running') {
          all.push(...(await compareEnvironment(target, await currentKeys(target, job))));
        } else {
          all.push({
            severity: 'blocking',
            code: 'service-not-running',
            where: target.service.description,
            found: state.detail,
            expected: 'a running service, so that its keys and models can be proved first',
            next: 'start it, and look at its log if it does not stay up',
          });
        }
        const log =
          state.instance === undefined ? undefined : await target.service.log(state.instance, logLines);
        const errors = findDecryptionErrors(log ?? []);
        if (errors > 0) {
          all.push({
            severity: 'warning',
            code: 'decryption-errors',
            where: `the log of ${target.service.description}`,
            found: `${errors} decryption errors since its start`,
            expected: 'none',
            next: 'look for values that no known key opens in this plan; after the rotation these errors are not held against it',
          });
        }
        return {
          description: target.service.description,
          detail: state.detail,
          decryptionErrors: errors,
          findings: all,
        };
      });
    },

    /** Proves that every replica accepts the current master key and no other. */
    async inspectProxy(job: Job): Promise<PlanParts['proxy']> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const { master } = await currentKeys(target, job);
        const findings: Finding[] = [];
        let seen: SeenModels = { models: 0, modelsDigest: '' };
        for (const proxy of target.proxies) {
          const { ready, detail } = await proxy.readiness();
          const blocking = (code: string, found: string, expected: string, next: string) =>
            findings.push({ severity: 'blocking', code, where: proxy.url, found, expected, next });
          if (!ready) {
            blocking(
              'proxy-not-ready',
              detail,
              'a ready proxy with its database connected',
              'look at its log',
            );
            continue;
          }
          if ((await proxy.tryKey(master)) !== 'accepted') {
            blocking(
              'master-key-refused',
              'that it refuses the master key of the secret files',
              'the running proxy to use that key',
              'restart the service if the files were changed since its start, and check for a master_key in its config.yaml',
            );
            continue;
          }
          const random = await proxy.tryKey(randomKey());
          if (random !== 'refused') {
            blocking(
              'any-key-accepted',
              random === 'accepted'
                ? 'that it accepts a random key'
                : `that it answers ${random.status} to a random key`,
              'keys to be checked, and 401 for one that it does not know',
              'run it in database mode with a master key',
            );
          }
          seen = await seeModels(proxy, master);
        }
        return {
          urls: target.proxies.map(({ url }) => url),
          ...seen,
          findings,
        };
      });
    },

    /** Finds every sealed value by opening it. */
    async inventoryDatabase(job: Job): Promise<PlanParts['database']> {
      const target = ports.target(job.target);
      return withHeartbeat(async (_signal, progress) => {
        const inventory = await takeInventory(target, job, progress);
        const findings = await target.database.inspect();
        return {
          ...inventory,
          lastOutage: await target.database.lastOutage(),
          description: target.database.description,
          findings: [...findings, ...inventory.findings],
        };
      });
    },

    /** The same for a person who asks, with the primary keys of the rows when they are wanted. Takes no lease. */
    async inventoryValues(job: Job & { rows: boolean }): Promise<ValueInventory> {
      const target = ports.target(job.target);
      return withHeartbeat(async (_signal, progress) => {
        const list = createRowList();
        const visit: VisitValue = (line, key) => list.add(line, key);
        const found = await takeInventory(target, job, progress, job.rows ? visit : undefined);
        const { lines, values, rows, columns, skipped } = found;
        const counted = { lines, values, rows, columns, skipped };
        const listed = job.rows ? list.listed : null;
        const { description } = target.database;
        return { target: job.target, description, ...counted, listed, unlisted: list.unlisted };
      });
    },

    /** Keeps the plan in the journal, and names it by its digest (SHA-256 of its JSON, hex). */
    async recordPlan(job: Job & { plan: unknown }): Promise<{ digest: string }> {
      const { database } = ports.target(job.target);
      return withHeartbeat(async () => {
        await database.record(await takeFence(database, job.rotation), 'plan', job.plan);
        return { digest: createHash('sha256').update(JSON.stringify(job.plan)).digest('hex') };
      });
    },
  };
}

/** Opens what is stored with every key that is known before a rotation has made any. */
async function takeInventory(
  target: Target,
  job: Job,
  progress: ReportProgress,
  visit?: VisitValue,
): Promise<Inventory> {
  const current = await currentKeys(target, job);
  return target.database.inventory(knownKeys(current, target.knownKeys), current.master, progress, visit);
}

/** One failure for all blocking findings, so that a person can mend them in one go. */
export function refusal(findings: readonly Finding[]): RotationError {
  const blocking = findings.filter(({ severity }) => severity === 'blocking');
  const head = `refused: ${blocking.length} finding${blocking.length === 1 ? '' : 's'} to mend first, nothing was changed`;
  return new RotationError(
    failureTypes.refused,
    [head, ...blocking.map((finding) => `- ${describeFinding(finding)}`)].join('\n'),
    {
      facts: { findings },
    },
  );
}

export async function currentKeys(target: Target, { rotation }: Job): Promise<KeyPair> {
  const { current, findings } = await target.store.inspect(rotation);
  if (current === undefined) throw refusal(findings);
  return current;
}

async function compareEnvironment(target: Target, keys: KeyPair): Promise<Finding[]> {
  const given = await target.service.environment([target.variables.master, target.variables.salt]);
  const findings: Finding[] = [];
  for (const [name, key] of [
    [target.variables.master, keys.master],
    [target.variables.salt, keys.salt],
  ] as const) {
    const value = given.get(name) ?? 'unknown';
    if (value === 'unknown') continue;
    const same = value === 'absent' ? key === undefined : value.given.equals(key);
    if (same) continue;
    findings.push({
      severity: 'blocking',
      code: 'process-has-another-key',
      where: `${target.service.description}, variable ${name}`,
      found:
        value === 'absent'
          ? 'that the running process was not given it'
          : 'that the running process was given another value than the secret files hold',
      expected:
        key === undefined
          ? 'it to be absent, as the secret files have none'
          : 'the value of the secret files',
      next: 'check which files the service reads and in which order, then restart it once before rotating',
    });
  }
  return findings;
}
