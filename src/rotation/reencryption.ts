import * as z from 'zod/mini';
import { parseInput, refuseInput, text } from './input.ts';
import type { SealedRow } from './inventory.ts';

export const upgradeFormats = ['v2', 'v3'] as const;
export type UpgradeFormat = (typeof upgradeFormats)[number];

/** What a person asks for who keeps the key and wants better values. */
export interface ReencryptionRequest {
  readonly target: string;
  /** The format in which values in a lower one are sealed; null: none is upgraded. */
  readonly upgradeFormat: UpgradeFormat | null;
  readonly repairSealedTwice: boolean;
  /** The digest of the plan that a person has approved; null: none. */
  readonly plan: string | null;
  /** Stop after the plan: nothing is touched, and no lease is taken. */
  readonly dryRun: boolean;
}

/** Values of one column that would be rewritten in the same way. */
export interface ReencryptedValues {
  readonly table: string;
  readonly column: string;
  readonly verdict: 'upgrade' | 'repair';
  /** The labels of the keys of its layers, outermost first. */
  readonly layers: readonly string[];
  readonly format: string;
  readonly becomes: string;
  readonly marker: string;
  readonly values: number;
}

/** How the stored values are, as far as a re-encryption under the same key is concerned. Holds no value and no key. */
export interface ReencryptionCounts {
  readonly lines: readonly ReencryptedValues[];
  /** Values in `lines`. */
  readonly values: number;
  /** Values sealed once, under the key in force, by format. */
  readonly formats: Readonly<Record<'legacy' | 'v2' | 'v3', number>>;
  /** Values that stay as they are, whatever is asked, by the reason. */
  readonly leftAlone: {
    /** Not asked for, or with a layer that no known key opens. */
    readonly sealedTwice: number;
    readonly underOtherKeys: number;
    readonly unreadable: number;
    /** Ids that clients hold, and values in columns that name rows. */
    readonly ids: number;
    /** In tables in which a row cannot be found again. */
    readonly withoutKey: number;
  };
}

export interface ReencryptionPlan extends ReencryptionCounts {
  readonly description: string;
  /** The rows whose values would be repaired, up to a thousand, and how many there are beyond. */
  readonly listed: readonly SealedRow[];
  readonly unlisted: number;
  /** SHA-256 (hex) over the target, what is asked, and the values that would be repaired: what a person approves. */
  readonly digest: string;
}

export interface ReencryptionResult {
  readonly outcome: 'planned' | 'reencrypted';
  readonly target: string;
  readonly requested: Pick<ReencryptionRequest, 'upgradeFormat' | 'repairSealedTwice'>;
  readonly plan: ReencryptionPlan;
  /** Null for a dry run. */
  readonly done: {
    /** Values of the plan that are as wanted now. */
    readonly values: number;
    readonly passes: number;
    readonly seconds: number;
  } | null;
  /** What was left when it ended; of a dry run, the same as the plan. */
  readonly remaining: ReencryptionCounts;
  /** One sentence on what is left and what to do about it; null when nothing is. */
  readonly advice: string | null;
}

const shape = {
  kind: 'a re-encryption request',
  schema: z.strictObject({
    target: text,
    upgradeFormat: z.optional(z.nullable(z.enum(upgradeFormats))),
    repairSealedTwice: z.optional(z.boolean()),
    plan: z.optional(z.nullable(z.string().check(z.regex(/^[0-9a-f]{64}$/)))),
    dryRun: z.optional(z.boolean()),
    requestedBy: z.optional(z.nullable(text)),
  }),
  example: '{"target":"prod","upgradeFormat":"v2"}',
  hints: {
    upgradeFormat: upgradeFormats.map((format) => `"${format}"`).join(' or '),
    repairSealedTwice: 'true or false',
    plan: 'the digest that a dry run has shown: 64 hex digits',
    dryRun: 'true or false',
  },
};

/** Reads the workflow's input. Throws `BadRequest` with one sentence that names the field. */
export function parseReencryptionRequest(inputs: readonly unknown[]): ReencryptionRequest {
  const {
    target,
    upgradeFormat = null,
    repairSealedTwice = false,
    plan = null,
    dryRun = false,
  } = parseInput(inputs, shape);
  if (upgradeFormat === null && !repairSealedTwice)
    refuseInput(
      shape,
      'neither "upgradeFormat" (--upgrade-format) nor "repairSealedTwice" (--repair-sealed-twice) is given, so there is nothing to do',
    );
  if (repairSealedTwice && plan === null && !dryRun)
    refuseInput(
      shape,
      'a repair needs "plan", the digest of an approved plan; make one with a dry run first (--repair-sealed-twice --dry-run), read it, and give its digest (--plan)',
    );
  if (!repairSealedTwice && plan !== null)
    refuseInput(
      shape,
      '"plan" is for a repair, and "repairSealedTwice" (--repair-sealed-twice) is not given',
    );
  return { target, upgradeFormat, repairSealedTwice, plan, dryRun };
}

/** Why a format may not be written, or undefined when LiteLLM reads it. */
export function unreadableFormat(
  { target, upgradeFormat }: Pick<ReencryptionRequest, 'target' | 'upgradeFormat'>,
  readsFormats: readonly string[],
): string | undefined {
  if (upgradeFormat === null || readsFormats.includes(upgradeFormat)) return undefined;
  const unreleased =
    upgradeFormat === 'v3' ? '; no release of LiteLLM up to 1.110.2 reads v3 and would lose every value' : '';
  return (
    `found that LiteLLM of ${target} reads ${readsFormats.join(', ')}; expected ${upgradeFormat} among them${unreleased}; ` +
    `nothing was changed; if every LiteLLM on this database reads ${upgradeFormat}, add it to proxy.readsFormats of ${target} in the worker's configuration`
  );
}

/** Why an approved plan is out of date, or undefined when it is not. */
export function changedPlan({ plan }: ReencryptionRequest, { digest }: ReencryptionPlan): string | undefined {
  if (plan === null || plan === digest) return undefined;
  return `found a plan with the digest ${digest}, expected the approved ${plan}: values that are sealed twice, or what is asked, have changed since; nothing was changed; run it with --dry-run again, and approve the new plan`;
}

/** What to do about values that are left. LiteLLM's names of its settings are those of 1.106 to 1.109. */
export function adviseOnRemaining({ lines, values }: ReencryptionCounts): string | null {
  if (values === 0) return null;
  const formats = [
    ...new Set(lines.filter(({ verdict }) => verdict === 'upgrade').map(({ becomes }) => becomes)),
  ];
  const [format] = formats;
  const head = `${values} ${values === 1 ? 'value is' : 'values are'} not as wanted: LiteLLM has stored ${values === 1 ? 'it' : 'them'} meanwhile, or held the row`;
  if (format === undefined) return `${head}; run a dry run again to see which`;
  const setting =
    format === 'v2'
      ? 'set encryption_algorithm: aes-256-gcm under general_settings of LiteLLM, and restart it'
      : `let LiteLLM write ${format}`;
  return `${head}; new values keep the format that LiteLLM is set to write: ${setting}, then run this again`;
}
