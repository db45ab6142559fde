import { describe, expect, test } from 'vitest';
import { decideCase } from '../../src/rotation/case.ts';
import type { KeyName } from '../../src/rotation/keys.ts';
import { makePlan, type PlannedValues } from '../../src/rotation/plan.ts';

const line = (values: number, key: string | null, remark: PlannedValues['remark'] = ''): PlannedValues => ({
  table: 'LiteLLM_ProxyModelTable',
  column: 'litellm_params',
  format: 'legacy',
  marker: '',
  key,
  remark,
  values,
});

function planOf(
  lines: PlannedValues[],
  { salt = true, keys = ['master', 'salt'] }: { salt?: boolean; keys?: KeyName[] } = {},
) {
  return makePlan({
    target: 'prod',
    rotation: 'r1',
    rotationCase: decideCase(salt, keys),
    secrets: {
      description: 'env file',
      current: { master: 'aaaa-bbbb', salt: salt ? 'cccc-dddd' : null },
      places: [],
      findings: [],
    },
    service: { description: 'unit', detail: 'active', decryptionErrors: 0, findings: [] },
    proxy: { urls: ['http://127.0.0.1:4000'], models: 3, modelsDigest: 'd', findings: [] },
    database: {
      description: 'database',
      lines,
      values: lines.reduce((sum, { values }) => sum + values, 0),
      rows: 1,
      columns: 1,
      skipped: [],
      tokenRow: 'none',
      findings: [],
    },
  });
}
const codes = (plan: ReturnType<typeof planOf>, severity: string) =>
  plan.findings.filter((finding) => finding.severity === severity).map(({ code }) => code);

describe('the plan', () => {
  test('blocks nothing when every value opens with the key that seals', () => {
    const plan = planOf([line(40, 'salt key')]);
    expect(plan.blocked).toBe(false);
    expect(codes(plan, 'warning')).toEqual([]);
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

  test('says what ends outside the database: only what the rotated keys are bound to', () => {
    expect(codes(planOf([line(1, 'salt key')]), 'note')).toEqual([
      'callers-of-the-master-key',
      'ids-held-by-clients',
    ]);
    expect(codes(planOf([line(1, 'salt key')], { keys: ['master'] }), 'note')).toEqual([
      'callers-of-the-master-key',
    ]);
    expect(codes(planOf([line(1, 'salt key')], { keys: ['salt'] }), 'note')).toEqual(['ids-held-by-clients']);
  });

  test('expects a longer outage the more values are swapped', () => {
    expect(planOf([line(10_000_000, 'salt key')]).outage.seconds).toBeGreaterThan(
      planOf([line(10, 'salt key')]).outage.seconds + 50,
    );
  });
});
