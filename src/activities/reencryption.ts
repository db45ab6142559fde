import { createHash } from 'node:crypto';
import { knownKeys } from '../litellm/known-keys.ts';
import type { Improvement, ImprovementReport, ImprovementSurvey } from '../reencryption/port.ts';
import type { ReportProgress } from '../rotation/fence.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { isBlocking } from '../rotation/finding.ts';
import { createRowList } from '../rotation/inventory.ts';
import { signingKey } from '../rotation/keys.ts';
import type { ReencryptionCounts, ReencryptionPlan, ReencryptionRequest } from '../rotation/reencryption.ts';
import { doneBefore, takeFence, withHeartbeat } from './context.ts';
import type { Job, Ports, Target } from './ports.ts';
import { refusal, refuseOtherDatabase } from './current-keys.ts';

type ReencryptionJob = Job & Pick<ReencryptionRequest, 'upgradeFormat' | 'repairSealedTwice'>;

/** The stored values under the key that they are under: in a stronger format, or sealed once instead of twice. */
export function createReencryptionActivities(ports: Ports) {
  return {
    /** What would be rewritten, and its digest. Reads only. */
    async planReencryption(job: ReencryptionJob): Promise<ReencryptionPlan> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        await refuseOtherDatabase(target);
        const list = createRowList();
        const survey = await surveyValues(target, job, progress, signal, (line, key) => {
          if (line.verdict !== 'repair') return;
          const { table, column, layers, format, marker } = line;
          const label = layers.join(' over ');
          list.add({ table, column, key: label, format, marker, remark: 'sealed twice', values: 1 }, key);
        });
        const { repairs, ...counted } = survey;
        const asked = [job.target, job.upgradeFormat, job.repairSealedTwice, repairs];
        return {
          ...counted,
          description: target.database.description,
          listed: list.listed,
          unlisted: list.unlisted,
          digest: createHash('sha256').update(JSON.stringify(asked)).digest('hex'),
        };
      });
    },

    /** Rewrites what is to be rewritten now. `expected` is how many values the plan counts: progress is told by it. */
    async reencryptValues(job: ReencryptionJob & { expected: number }): Promise<ImprovementReport> {
      const target = ports.target(job.target);
      const before = doneBefore();
      return withHeartbeat(
        async (signal, progress) => {
          const asked = await improvementOf(target, job);
          const fence = await takeFence(target.database, job.rotation);
          const report: ReportProgress = (step) =>
            progress({ total: job.expected, ...step, done: before + step.done });
          return target.database.improve(asked, fence, report, signal);
        },
        { done: before },
      );
    },

    /** What is left, counted as the plan was. */
    async countRemaining(job: ReencryptionJob): Promise<ReencryptionCounts> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal, progress) => {
        const { repairs: _, ...counted } = await surveyValues(target, job, progress, signal);
        return counted;
      });
    },
  };
}

async function surveyValues(
  target: Target,
  job: ReencryptionJob,
  progress: ReportProgress,
  signal: AbortSignal,
  visit?: Parameters<Target['database']['surveyImprovement']>[3],
): Promise<ImprovementSurvey> {
  const asked = await improvementOf(target, job);
  const survey = await target.database.surveyImprovement(asked, progress, signal, visit);
  const { formats, lines } = survey;
  const opens = formats.legacy + formats.v2 + formats.v3 > 0;
  // A repair would seal with a key that opens nothing here: the files and the database hardly belong together.
  if (!opens && lines.length > 0 && !lines.some(({ layers }) => layers.includes(asked.sealing.label))) {
    throw new RotationError(
      failureTypes.refused,
      `${target.database.description}: found sealed values, none of which the current ${asked.sealing.label} opens; expected the key that LiteLLM runs with; nothing was changed; check that the configured database and secret files belong to the same deployment`,
    );
  }
  return survey;
}

/** The current keys alone: with a slot of a rotation there would be two generations of them. */
async function improvementOf(target: Target, job: ReencryptionJob): Promise<Improvement> {
  const { current, findings } = await target.store.inspect(job.rotation);
  if (current === undefined || findings.some(isBlocking)) throw refusal(findings);
  return {
    sealing: { label: current.salt === undefined ? 'master key' : 'salt key', key: signingKey(current) },
    known: knownKeys(current, target.knownKeys),
    upgradeTo: job.upgradeFormat,
    repairSealedTwice: job.repairSealedTwice,
  };
}
