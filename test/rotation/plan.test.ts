import { describe, expect, test } from 'vitest';
import { stripVTControlCharacters } from 'node:util';
import { renderPlan as renderStyled } from '../../src/cli/rendering.ts';
import { decideCase } from '../../src/rotation/case.ts';
import type { KeyName } from '../../src/rotation/keys.ts';
import type { MeasuredOutage } from '../../src/rotation/measured-outage.ts';
import { makePlan } from '../../src/rotation/plan.ts';
import type { PlannedValues } from '../../src/rotation/plan-parts.ts';

const line = (values: number, key: string | null, remark: PlannedValues['remark'] = ''): PlannedValues => ({
  table: 'LiteLLM_ProxyModelTable',
  column: 'litellm_params',
  format: 'legacy',
  marker: '',
  key,
  remark,
  values,
});

type Part = 'secrets' | 'service' | 'proxy' | 'database' | 'rehearsal';
const blocking = {
  severity: 'blocking',
  code: 'of-a-part',
  where: '',
  found: '',
  expected: '',
  next: '',
} as const;

function planOf(
  lines: PlannedValues[],
  {
    salt = true,
    keys = ['master', 'salt'],
    maxOutageSeconds = null,
    lastOutage = null,
    blockedBy,
  }: {
    salt?: boolean;
    keys?: KeyName[];
    maxOutageSeconds?: number | null;
    lastOutage?: MeasuredOutage | null;
    blockedBy?: Part;
  } = {},
) {
  const findingsOf = (part: Part) => (blockedBy === part ? [blocking] : []);
  return makePlan({
    target: 'prod',
    rotation: 'r1',
    rotationCase: decideCase(salt, keys),
    maxOutageSeconds,
    secrets: {
      description: 'env file',
      current: { master: 'aaaa-bbbb', salt: salt ? 'cccc-dddd' : null },
      places: [],
      findings: findingsOf('secrets'),
    },
    service: { description: 'unit', detail: 'active', decryptionErrors: 0, findings: findingsOf('service') },
    proxy: { urls: ['http://127.0.0.1:4000'], models: 3, modelsDigest: 'd', findings: findingsOf('proxy') },
    rehearsal: blockedBy === 'rehearsal' ? { description: '', findings: [blocking] } : null,
    database: {
      description: 'database',
      lines,
      values: lines.reduce((sum, { values }) => sum + values, 0),
      rows: 1,
      columns: 1,
      seconds: 0.4,
      lastOutage,
      skipped: [],
      tokenRow: 'none',
      findings: findingsOf('database'),
    },
  });
}
const renderPlan = (plan: ReturnType<typeof planOf>) => stripVTControlCharacters(renderStyled(plan));
const codes = (plan: ReturnType<typeof planOf>, severity: string) =>
  plan.findings.filter((finding) => finding.severity === severity).map(({ code }) => code);

describe('the plan', () => {
  test('blocks nothing when every value opens with the key that seals', () => {
    const plan = planOf([line(40, 'salt key')]);
    expect(plan.blocked).toBe(false);
    expect(codes(plan, 'warning')).toEqual([]);
  });

  test.for(['secrets', 'service', 'proxy', 'database', 'rehearsal'] as const)(
    'is blocked by what was found of the %s',
    (blockedBy) => {
      const plan = planOf([line(40, 'salt key')], { blockedBy });
      expect(codes(plan, 'blocking')).toEqual(['of-a-part']);
      expect(plan.blocked).toBe(true);
    },
  );

  test('blocks when values that name rows would be lost with their key, but for ids that clients hold', () => {
    const named = [line(40, 'salt key'), line(2, 'salt key', 'not carried over')];
    expect(codes(planOf(named), 'blocking')).toEqual(['values-that-name-rows']);
    expect(planOf(named, { keys: ['master'] }).blocked).toBe(false);
    const ids = [line(40, 'salt key'), { ...line(2, 'salt key', 'not carried over'), marker: 'resp_' }];
    expect(planOf(ids).blocked).toBe(false);
  });

  test('blocks when the key that LiteLLM runs with opens nothing', () => {
    expect(codes(planOf([line(40, 'master key')]), 'blocking')).toEqual(['sealing-key-opens-nothing']);
    expect(codes(planOf([line(40, null, 'unreadable')]), 'blocking')).toEqual(['sealing-key-opens-nothing']);
  });

  test('does not block a database without any sealed value', () => {
    expect(planOf([]).blocked).toBe(false);
  });

  test('blocks a rotation of the master key alone while values stand under it, as they would be lost', () => {
    const plan = planOf([line(40, 'salt key'), line(2, 'master key')], { keys: ['master'] });
    expect(codes(plan, 'blocking')).toEqual(['values-under-other-keys']);
  });

  test('carries values under older keys over when both are rotated, and says so', () => {
    const plan = planOf([line(40, 'salt key'), line(2, 'empty salt key')]);
    expect(plan.blocked).toBe(false);
    expect(codes(plan, 'warning')).toEqual(['values-under-other-keys']);
  });

  test('warns of values that no key opens, and of values sealed twice', () => {
    const plan = planOf([
      line(40, 'salt key'),
      line(1, null, 'unreadable'),
      line(3, 'salt key', 'sealed twice'),
    ]);
    expect(codes(plan, 'warning')).toEqual(['unreadable-values', 'sealed-twice']);
  });

  test('does not warn of an id in the request log that was sealed with a key of long ago', () => {
    const id = { ...line(1, null, 'unreadable'), marker: 'resp_' };
    expect(codes(planOf([line(40, 'salt key'), id]), 'warning')).toEqual([]);
  });

  test('says what ends outside the database: only what the rotated keys are bound to', () => {
    expect(codes(planOf([line(1, 'salt key')]), 'note')).toEqual([
      'callers-of-the-master-key',
      'ids-held-by-clients',
      'ciphertext-held-by-clients',
    ]);
    expect(codes(planOf([line(1, 'salt key')], { keys: ['master'] }), 'note')).toEqual([
      'callers-of-the-master-key',
    ]);
    expect(codes(planOf([line(1, 'salt key')], { keys: ['salt'] }), 'note')).toEqual([
      'ids-held-by-clients',
      'ciphertext-held-by-clients',
    ]);
  });

  test('expects a longer outage the more values are swapped', () => {
    expect(planOf([line(10_000_000, 'salt key')]).outage.seconds).toBeGreaterThan(
      planOf([line(10, 'salt key')]).outage.seconds + 50,
    );
  });
});

describe('the outage', () => {
  const lastOutage = { at: '2026-11-24T04:40:49Z', restartMs: 12_000, swapMs: 4_000, values: 100_000 };
  const million = [line(1_000_000, 'salt key')];

  test('is estimated by the last rotation, and says so', () => {
    const { outage } = planOf(million, { lastOutage });
    expect(outage).toEqual({
      seconds: 52,
      restartSeconds: 12,
      swapSeconds: 40,
      basis:
        'a restart of LiteLLM (12 s, as in the rotation of 2026-11-24T04:40:49Z) and a swap of 1000000 values (40 s, at the rate of the 100000 values swapped then)',
    });
  });

  test('is estimated by constants and the search for the values where there is no rotation to go by, and says so', () => {
    const { outage } = planOf(million);
    expect(outage).toMatchObject({ seconds: 27, restartSeconds: 18, swapSeconds: 8.4 });
    expect(outage.basis).toContain(
      '18 s, measured on 2 cores; this database has no earlier rotation to go by',
    );
    expect(outage.basis).toContain(
      '8 s to write them, measured on 2 cores, and at most the 0.4 s that finding them took just now',
    );
  });

  test('does not take the rate of a swap that was too small to have one', () => {
    const small = { ...lastOutage, values: 10, swapMs: 300 };
    expect(planOf(million, { lastOutage: small }).outage).toMatchObject({
      restartSeconds: 12,
      swapSeconds: 8.4,
    });
  });

  test('counts no swap where nothing is re-encrypted', () => {
    expect(planOf(million, { keys: ['master'], lastOutage }).outage).toMatchObject({
      seconds: 12,
      swapSeconds: 0,
    });
  });

  test('blocks when it is longer than allowed, with the estimate, its parts and its basis', () => {
    const plan = planOf(million, { lastOutage, maxOutageSeconds: 51 });
    expect(plan.blocked).toBe(true);
    const finding = plan.findings.find(({ code }) => code === 'outage-too-long');
    expect(finding).toMatchObject({
      severity: 'blocking',
      where: 'prod',
      found: `an expected outage of about 52 s: ${plan.outage.basis}`,
      expected: "at most 51 s, as maxOutage in the worker's configuration says",
      next: 'raise maxOutage, or rotate the master key alone (--keys master), which swaps no value',
    });
  });

  test('does not advise what would not help', () => {
    const next = (plan: ReturnType<typeof planOf>) =>
      plan.findings.find(({ code }) => code === 'outage-too-long')?.next;
    expect(next(planOf(million, { lastOutage, maxOutageSeconds: 11 }))).toBe('raise maxOutage');
    expect(
      next(planOf([line(1_000_000, 'master key')], { salt: false, lastOutage, maxOutageSeconds: 20 })),
    ).toBe('raise maxOutage');
  });

  test('does not block when it is as long as allowed', () => {
    expect(codes(planOf(million, { lastOutage, maxOutageSeconds: 52 }), 'blocking')).toEqual([]);
  });
});

test('the text of a plan ends with what it means where something is to be mended first', () => {
  const lost = planOf([line(1, 'master key')], { keys: ['master'] });
  expect(lost.blocked).toBe(true);
  expect(renderPlan(lost)).toMatch(/refused: what is marked ✗ is to be mended first; nothing was changed$/);
  expect(renderPlan(planOf([line(1, 'salt key')]))).not.toContain('✗');
});
