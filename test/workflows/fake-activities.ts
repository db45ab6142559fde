import { ApplicationFailure } from '@temporalio/common';
import type { Activities } from '../../src/activities/index.ts';
import { decideCase } from '../../src/rotation/case.ts';

/** One deployment that stands on one side in each of its parts; the activities move it. */
export interface FakeDeployment {
  database: 'previous' | 'pending';
  secrets: 'previous' | 'pending';
  service: 'running' | 'stopped';
  lease: string | null;
  canary: boolean;
  staged: boolean;
  /** The clone of a rehearsal. */
  clone: boolean;
  /** The slot with both generations. */
  slot: boolean;
  readonly calls: string[];
}

/** Activities that only move a `FakeDeployment`: for the order of the workflow's steps, and nothing else. */
export function createFakeActivities(
  overrides: (deployment: FakeDeployment, originals: Activities) => Partial<Activities> = () => ({}),
): { activities: Activities; deployment: FakeDeployment } {
  const deployment: FakeDeployment = {
    database: 'previous',
    secrets: 'previous',
    service: 'running',
    lease: null,
    canary: false,
    staged: false,
    clone: false,
    slot: false,
    calls: [],
  };
  const state = deployment;
  const unchanged = {
    formats: { legacy: 0, v2: 3, v3: 0 },
    leftAlone: { sealedTwice: 0, underOtherKeys: 0, unreadable: 0, ids: 0, withoutKey: 0 },
  };
  const fingerprints = { master: 'aaaa-aaaa', salt: 'bbbb-bbbb' };
  const activities: Activities = {
    findTarget: async () => ({
      maxOutageSeconds: null,
      readsFormats: ['legacy', 'v2'],
      rehearsedAlways: false,
    }),
    takeLease: async ({ rotation }) => {
      state.lease = rotation;
      return {
        unfinished: null,
        found: state.slot ? 'a beginning' : state.database === 'pending' ? 'an end' : 'nothing',
      };
    },
    releaseLease: async ({ rotation }) => {
      const released = state.lease === rotation;
      if (released) state.lease = null;
      return { released };
    },
    inspectSecrets: async ({ keys }) => ({
      rotationCase: decideCase(true, keys),
      secrets: { description: 'env file', current: fingerprints, places: [], findings: [] },
    }),
    inspectService: async () => ({
      description: 'unit',
      detail: 'active',
      decryptionErrors: 0,
      findings: [],
    }),
    inspectProxy: async () => ({ urls: ['http://proxy'], models: 2, modelsDigest: 'd', findings: [] }),
    inventoryDatabase: async () => ({
      description: 'database',
      lines: [
        { table: 't', column: 'c', key: 'salt key', format: 'legacy', marker: '', remark: '', values: 3 },
      ],
      values: 3,
      rows: 2,
      columns: 1,
      seconds: 0.1,
      lastOutage: null,
      skipped: [],
      tokenRow: 'none',
      findings: [],
    }),
    inventoryValues: async ({ target }) => ({
      target,
      description: 'database',
      lines: [],
      values: 3,
      rows: 2,
      columns: 1,
      skipped: [],
      listed: null,
      unlisted: 0,
    }),
    planReencryption: async () => ({
      description: 'database',
      lines: [],
      ...unchanged,
      values: 3,
      listed: [],
      unlisted: 0,
      digest: 'd'.repeat(64),
    }),
    reencryptValues: async ({ rotation }) => {
      if (state.lease !== rotation) throw ApplicationFailure.nonRetryable('no lease', 'FencedOut');
      return { upgraded: 2, repaired: 1, rows: 2, passes: 1, missed: 0 };
    },
    countRemaining: async () => ({ ...unchanged, lines: [], values: 0 }),
    inspectRehearsal: async () => ({ description: 'a clone', findings: [] }),
    cloneDatabase: async () => {
      state.clone = true;
      return { clone: 'dump', ms: 100, seen: null };
    },
    rotateClone: async () => ({ values: 3, rows: 2, stageMs: 200, swapMs: 300 }),
    proveClone: async () => ({ startMs: 4000, stopMs: 500 }),
    destroyClone: async () => {
      const destroyed = state.clone;
      state.clone = false;
      return { destroyed };
    },
    recordPlan: async () => ({ digest: 'digest' }),
    generateKeys: async () => {
      state.slot = true;
      return { previous: fingerprints, pending: { master: 'cccc-cccc', salt: 'dddd-dddd' } };
    },
    discardPendingKeys: async () => {
      if (state.secrets === 'pending')
        throw ApplicationFailure.nonRetryable('the pending keys are in force', 'ChangedElsewhere');
      state.slot = false;
    },
    destroyPreviousKeys: async () => {
      state.slot = false;
      state.staged = false;
    },
    writeSecrets: async () => {
      state.secrets = 'pending';
      return { written: 1, alreadyDone: 0 };
    },
    restoreSecrets: async () => {
      state.secrets = 'previous';
      return { written: 1, alreadyDone: 0 };
    },
    stageValues: async () => {
      state.staged = true;
      return { values: 3, rows: 2 };
    },
    swapValues: async () => {
      if (state.service !== 'stopped')
        throw ApplicationFailure.nonRetryable('swapped beside a running service', 'Unexpected');
      state.database = 'pending';
      return { values: 3, rows: 2, lateValues: 0, tokenRow: 'none' };
    },
    restoreValues: async () => {
      if (state.service !== 'stopped')
        throw ApplicationFailure.nonRetryable('restored beside a running service', 'Unexpected');
      state.database = 'previous';
      return { rows: 2, resealedValues: 0 };
    },
    dropStagedValues: async () => {
      state.staged = false;
    },
    installCanary: async () => {
      state.canary = true;
      return { port: 4711 };
    },
    verifyCanary: async () => undefined,
    removeCanary: async () => {
      if (state.service !== 'running')
        throw ApplicationFailure.nonRetryable('no proxy to remove the canary from', 'ProxyFailed');
      state.canary = false;
    },
    stopService: async () => {
      state.service = 'stopped';
      return { detail: 'inactive' };
    },
    stopServiceAgain: async () => {
      state.service = 'stopped';
      return { detail: 'inactive' };
    },
    proveFenced: async () => ({ detail: 'nothing' }),
    startService: async () => {
      if (state.database !== state.secrets)
        throw ApplicationFailure.nonRetryable('started between two keys', 'Unexpected');
      state.service = 'running';
      return { instance: 'i2', detail: 'active' };
    },
    awaitReady: async () => ({ seconds: 1 }),
    watchServiceLog: async () => ({ lines: 10, errors: 0, seconds: 1 }),
    verifyKeys: async () => undefined,
    verifyModels: async () => ({ models: 2 }),
    countModels: async ({ models }) => ({ models, same: true }),
    verifyDatabase: async () => ({ values: 3, unreadable: 0 }),
    recordEvidence: async () => undefined,
    observeParts: async () => ({
      database: state.database,
      staged: state.staged ? 2 : 0,
      secrets: state.secrets,
      prepared: state.slot,
      service: state.service,
      running: state.service === 'running',
      clone: state.clone,
    }),
  };
  Object.assign(activities, overrides(deployment, { ...activities }));
  for (const [name, activity] of Object.entries(activities) as [
    keyof Activities,
    (...args: never[]) => Promise<unknown>,
  ][]) {
    Object.assign(activities, {
      [name]: (...args: never[]) => {
        deployment.calls.push(name);
        return activity(...args);
      },
    });
  }
  return { activities, deployment };
}
