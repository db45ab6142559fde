import { createHash } from 'node:crypto';
import { findDecryptionErrors } from '../litellm/decryption-errors.ts';
import { knownKeys } from '../litellm/known-keys.ts';
import type { Inventory, VisitValue } from '../reencryption/port.ts';
import { decideCase, type RotationCase } from '../rotation/case.ts';
import type { ReportProgress } from '../rotation/fence.ts';
import { createRowList, type ValueInventory } from '../rotation/inventory.ts';
import type { KeyName } from '../rotation/keys.ts';
import type { PlanParts } from '../rotation/plan-parts.ts';
import { takeFence, withHeartbeat } from './context.ts';
import { currentKeys, refusal, refuseOtherDatabase } from './current-keys.ts';
import { fingerprintsOf } from './generations.ts';
import { environmentFindings, lookAtProxies } from './keys-in-force.ts';
import type { Job, Ports, Target } from './ports.ts';
import { strangerFinding } from './stranger.ts';

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
    async inspectService(job: Job & { rotationCase: RotationCase }): Promise<PlanParts['service']> {
      const target = ports.target(job.target);
      return withHeartbeat(async () => {
        const { reencrypt } = job.rotationCase;
        const isFirstSalt = reencrypt?.from === 'master' && reencrypt.to === 'salt';
        const { findings, state } = await target.service.inspect(
          isFirstSalt ? target.variables.salt : undefined,
        );
        const all = [...findings];
        if (state.state === 'running') {
          all.push(...(await environmentFindings(target, await currentKeys(target, job))));
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
        const urls = target.proxies.map(({ url }) => url);
        const stranger = await strangerFinding(target);
        if (stranger !== undefined) return { urls, models: 0, modelsDigest: '', findings: [stranger] };
        const { seen, findings } = await lookAtProxies(target.proxies, master);
        return { urls, ...seen, findings };
      });
    },

    /** Finds every sealed value by opening it. */
    async inventoryDatabase(job: Job): Promise<PlanParts['database']> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        const inventory = await takeInventory(target, job, progress, signal);
        const findings = await target.database.inspect(signal);
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
      return withHeartbeat(async (signal, progress) => {
        await refuseOtherDatabase(target);
        const list = createRowList();
        const visit: VisitValue = (line, key) => list.add(line, key);
        const found = await takeInventory(target, job, progress, signal, job.rows ? visit : undefined);
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
  signal: AbortSignal,
  visit?: VisitValue,
): Promise<Inventory> {
  const current = await currentKeys(target, job);
  return target.database.inventory(
    knownKeys(current, target.knownKeys),
    current.master,
    progress,
    signal,
    visit,
  );
}
