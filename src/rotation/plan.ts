import { type Finding, isBlocking } from './finding.ts';
import { estimateOutage, type OutageEstimate } from './outage.ts';
import type { PlannedValues, PlanParts } from './plan-parts.ts';

/** What a rotation would do, and everything a person should know first. Holds no key material. */
export interface Plan extends PlanParts {
  readonly findings: readonly Finding[];
  readonly blocked: boolean;
  readonly outage: OutageEstimate;
}

/** The label that `knownKeys` gives to the key that seals. */
const labelOf = { salt: 'salt key', master: 'master key' } as const;

/** Puts the parts together, and judges what only all of them show. Pure: the same parts give the same plan. */
export function makePlan(parts: PlanParts): Plan {
  const outage = estimateOutage(parts);
  const findings = [
    ...parts.secrets.findings,
    ...parts.service.findings,
    ...parts.proxy.findings,
    ...parts.database.findings,
    ...(parts.rehearsal?.findings ?? []),
    ...judgeValues(parts),
    ...judgeOutage(parts, outage),
    ...consequences(parts),
  ];
  return {
    ...parts,
    findings,
    blocked: findings.some(isBlocking),
    outage,
  };
}

function judgeValues({ target, rotationCase, secrets, database }: PlanParts): Finding[] {
  const findings: Finding[] = [];
  const sealing = labelOf[secrets.current.salt === null ? 'master' : 'salt'];
  const count = (select: (line: PlannedValues) => boolean) =>
    database.lines.filter(select).reduce((sum, { values }) => sum + values, 0);
  const opened = count(({ key, remark }) => key !== null && remark !== 'not carried over');
  const underSealing = count(({ key }) => key === sealing);
  const underOthers = count(
    ({ key, remark }) => key !== null && key !== sealing && remark !== 'not carried over',
  );
  // An id of the request log that no key opens was sealed with a key that is gone: nothing to look for.
  const lost = ({ remark, marker }: PlannedValues) => remark === 'unreadable' && marker !== 'resp_';
  const unreadable = count(lost);
  const where = (select: (line: PlannedValues) => boolean) =>
    [...new Set(database.lines.filter(select).map(({ table, column }) => `${table}.${column}`))].join(', ');

  if (underSealing === 0 && opened + unreadable > 0) {
    findings.push({
      severity: 'blocking',
      code: 'sealing-key-opens-nothing',
      where: database.description,
      found: `${opened + unreadable} sealed values, none of which opens with the current ${sealing}`,
      expected: `the key that LiteLLM runs with to open them`,
      next: 'check that the configured database and secret files belong to the same deployment',
    });
  } else if (underOthers > 0 && rotationCase.reencrypt === null) {
    findings.push({
      severity: 'blocking',
      code: 'values-under-other-keys',
      where: where(({ key, remark }) => key !== null && key !== sealing && remark !== 'not carried over'),
      found: `${underOthers} values sealed with another key than the current ${sealing}; they would be lost with the master key`,
      expected: `every value under the ${sealing}`,
      next: 'rotate both keys, which carries them over',
    });
  } else if (underOthers > 0) {
    findings.push({
      severity: 'warning',
      code: 'values-under-other-keys',
      where: where(({ key, remark }) => key !== null && key !== sealing && remark !== 'not carried over'),
      found: `${underOthers} values sealed with another key than the current ${sealing}, which LiteLLM cannot read now`,
      expected: `every value under the ${sealing}`,
      next: 'nothing: the rotation opens them and seals them with the new key',
    });
  }
  // Ids that clients hold end with their key; anything else would be lost with it.
  const naming = ({ remark, marker }: PlannedValues) => remark === 'not carried over' && marker !== 'resp_';
  if (count(naming) > 0 && rotationCase.reencrypt !== null) {
    findings.push({
      severity: 'blocking',
      code: 'values-that-name-rows',
      where: where(naming),
      found: `${count(naming)} sealed values in a key, a unique index or a reference, which are not rewritten; they would be lost with the current ${sealing}`,
      expected: 'sealed values in columns that name no row',
      next: 'drop the index or the reference until the rotation is done, or name the table under database.skipTables if they may be lost',
    });
  }
  if (unreadable > 0) {
    findings.push({
      severity: 'warning',
      code: 'unreadable-values',
      where: where(lost),
      found: `${unreadable} values that look sealed and open with no known key`,
      expected: 'a known key for each',
      next: 'add an older key under knownKeys in the configuration, or leave them: they are not touched',
    });
  }
  if (count(({ remark }) => remark === 'sealed twice') > 0) {
    findings.push({
      severity: 'warning',
      code: 'sealed-twice',
      where: where(({ remark }) => remark === 'sealed twice'),
      found: `${count(({ remark }) => remark === 'sealed twice')} values sealed twice, which LiteLLM hands out as ciphertext`,
      expected: 'values sealed once',
      next: `nothing: both layers are carried over as they are; to mend them, before or after it: litellm-rotate reencrypt ${target} --repair-sealed-twice --dry-run`,
    });
  }
  return findings;
}

/** Source: LiteLLM 1.109, what is bound to either key outside the database. */
function consequences({ rotationCase, target, database }: PlanParts): Finding[] {
  const note = (code: string, found: string, next: string): Finding => ({
    severity: 'note',
    code,
    where: target,
    found,
    expected: 'people and programs that depend on it to know',
    next,
  });
  const findings: Finding[] = [];
  if (rotationCase.rotate.includes('master')) {
    findings.push(
      note(
        'callers-of-the-master-key',
        'every caller that holds the master key, and every UI session, which it signs',
        'give callers the new key from the secret file after the rotation; people log in again',
      ),
    );
  }
  if (rotationCase.reencrypt !== null) {
    const ids = database.lines
      .filter(({ remark, marker }) => remark === 'not carried over' && marker === 'resp_')
      .reduce((sum, { values }) => sum + values, 0);
    findings.push(
      note(
        'ids-held-by-clients',
        `Responses API ids${ids > 0 ? ` (${ids} in the request log)` : ''}, MCP gateway client ids and refresh tokens, and realtime client secrets end with the current key`,
        'tell those clients to start anew',
      ),
      // Source: LiteLLM 1.108.7, `_encrypt_if_plaintext` in proxy/common_utils/callback_utils.py; GET /team/info and
      // /key/info answer with the metadata as it is stored.
      note(
        'ciphertext-held-by-clients',
        'pages and programs that have read a team or a key hold its callback secrets as ciphertext under the current key; saved after the cutover, it overwrites what was carried over, and nothing opens it',
        'reload open pages of the UI after the rotation; let programs read again before they update a team or a key',
      ),
    );
  }
  return findings;
}

/** Too long an outage is a reason not to begin, while there is still time to choose another way. */
function judgeOutage(
  { target, rotationCase, maxOutageSeconds }: PlanParts,
  outage: OutageEstimate,
): Finding[] {
  if (maxOutageSeconds === null || outage.restartSeconds + outage.swapSeconds <= maxOutageSeconds) return [];
  const withoutSwap = rotationCase.reencrypt?.from === 'salt' && outage.restartSeconds <= maxOutageSeconds;
  return [
    {
      severity: 'blocking',
      code: 'outage-too-long',
      where: target,
      found: `an expected outage of about ${outage.seconds} s: ${outage.basis}`,
      expected: `at most ${maxOutageSeconds} s, as maxOutage in the worker's configuration says`,
      next: `raise maxOutage${withoutSwap ? ', or rotate the master key alone (--keys master), which swaps no value' : ''}`,
    },
  ];
}
