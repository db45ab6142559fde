import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client as PostgresClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Deployment } from '../../lab/deployment.ts';
import type { HookedDeployment } from './hooked-service.ts';
import type { Lab } from './lab.ts';
import { type RollbackLab, startRollbackLab, until } from './rollback-lab.ts';
import { deployStandIn } from './stand-in.ts';

// The drill's stand-in for LiteLLM, in 0.2 s instead of 10: what fails here is not LiteLLM.
vi.setConfig({ testTimeout: 120_000 });

let rollback: RollbackLab;
let lab: Lab;
let demo: Deployment;
let hooks: HookedDeployment;

beforeAll(async () => {
  rollback = await startRollbackLab((made) => deployStandIn(made, 'demo'));
  ({ lab, demo, hooks } = rollback);
});
afterAll(() => lab?.stop());

describe('a rotation that fails ends on the previous keys, byte for byte, with the service up', () => {
  test('in stage, for a key file that somebody edits: the edit stays', async () => {
    const [before, text] = [await rollback.look(), await readFile(demo.keyFile, 'utf8')];
    const { rotation } = rollback.start();
    await until('a slot', async () => existsSync(join(demo.directory, '.litellm-rotate', 'slot.json')));
    await appendFile(demo.keyFile, 'ADDED=1\n');
    const { exitCode, stderr } = await rotation;
    expect(stderr).toContain(`${demo.keyFile}: found a change made since preflight`);
    expect(exitCode).toBe(3);
    await rollback.expectNothingButTheEdit(before);
    await writeFile(demo.keyFile, text);
  });

  test("in fence, for another session of LiteLLM's database role", async () => {
    const before = await rollback.look();
    const other = new PostgresClient({ connectionString: lab.postgres.url('demo', 'litellm_demo') });
    await other.connect();
    const { exitCode, stderr } = await rollback.start().rotation;
    await other.end();
    expect(stderr).toContain('1 open session(s) of role litellm_demo');
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });

  test('in cutover, for a lock that another session holds', async () => {
    const before = await rollback.look();
    const other = new PostgresClient({
      connectionString: demo.databaseUrl,
      application_name: 'a long report',
    });
    await other.connect();
    await other.query('begin; lock table "LiteLLM_CredentialsTable" in row exclusive mode');
    const { exitCode, stderr } = await rollback.start().rotation;
    await other.end();
    expect(stderr).toMatch(
      /another session holds LiteLLM's tables: pid \d+ \(a long report, .*\) on LiteLLM_CredentialsTable/,
    );
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });
});

/** The worker's gauge, as an alarm reads it. */
async function waitsForPerson(): Promise<string | undefined> {
  const metrics = await (await fetch(rollback.metricsUrl)).text();
  return /^litellm_rotate_needs_person\{[^}]*target="demo"[^}]*\} (\d+)$/m.exec(metrics)?.[1];
}

describe('a rotation that cannot go back by itself keeps both keys and waits for a person', () => {
  test('after the cutover, for a key file that somebody edits: "rollback" goes on once the edit is undone', async () => {
    const before = await rollback.look();
    await hooks.before('start', `echo ADDED=1 >> ${demo.keyFile}; exit 1`);
    const { workflowId, rotation } = rollback.start();
    const { exitCode, stderr } = await rotation;
    expect(exitCode).toBe(4);
    expect(stderr).toContain(demo.keyFile);
    expect(stderr).toMatch(
      /Database: pending key\. Secret files: changed\. Service: stopped\. Both keys are kept\./,
    );
    expect(stderr).toContain(`temporal workflow update execute --name rollback --workflow-id ${workflowId}`);

    await expect.poll(waitsForPerson, { timeout: 30_000 }).toBe('1');

    const edited = await readFile(demo.keyFile, 'utf8');
    await writeFile(demo.keyFile, edited.replace('ADDED=1\n', ''));
    const update = await rollback.update(workflowId, 'rollback');
    expect(update.exitCode, update.stderr).toBe(0);
    const { exitCode: code } = await lab.cli('status', workflowId, '--follow');
    expect(code).toBe(3);
    await expect.poll(waitsForPerson, { timeout: 30_000 }).toBe('0');
    await rollback.expectRestored(before);
  });
});
