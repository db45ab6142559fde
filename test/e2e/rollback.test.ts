import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Deployment } from '../../lab/deployment.ts';
import { emptyConfig } from '../../lab/litellm/proxy.ts';
import type { HookedDeployment } from './hooked-service.ts';
import { type Lab, seed } from './lab.ts';
import { journalRest, leftovers, modelsOf, valueIn } from './observation.ts';
import { atRest, type RollbackLab, startRollbackLab, until } from './rollback-lab.ts';

// With LiteLLM itself, in each phase once; more ways to fail are in rollback-causes.test.ts, with a service that is up sooner.
// Most cases start LiteLLM once or twice: 10 s each on an idle machine, three times that on a busy one.
vi.setConfig({ testTimeout: 240_000 });

let rollback: RollbackLab;
let lab: Lab;
let demo: Deployment;
let hooks: HookedDeployment;

beforeAll(async () => {
  rollback = await startRollbackLab(async (made) => {
    const deployment = await made.deploy('demo');
    await deployment.start();
    const { virtualKey } = await seed(made, deployment);
    return { deployment, master: deployment.keys.master, virtualKey, model: 'm-provider' };
  });
  ({ lab, demo, hooks } = rollback);
});
afterAll(() => lab?.stop());

describe('a rotation that fails ends on the previous keys, byte for byte, with LiteLLM serving', () => {
  test('in preflight, for a name that is emptied', async () => {
    await appendFile(demo.envFile, 'LITELLM_MASTER_KEY=\n');
    const before = await rollback.look();
    const { exitCode, stderr } = await rollback.start().rotation;
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${demo.envFile}:4: found \`LITELLM_MASTER_KEY=\` without a value`);
    expect(stderr).toContain('nothing was changed');
    await rollback.expectRestored(before);
    await writeFile(
      demo.envFile,
      (await readFile(demo.envFile, 'utf8')).replace('LITELLM_MASTER_KEY=\n', ''),
    );
  });

  test('in stage, for a table with sealed values and without a key that somebody makes meanwhile', async () => {
    const before = await rollback.look();
    await rollback.sql(`
      create function litellm_rotate.copy_models() returns trigger security definer language plpgsql as $$ begin
        create table public.models_backup as select * from public."LiteLLM_ProxyModelTable";
        grant select, update on public.models_backup to rotate_demo;
        return new;
      end $$;
      create trigger copy_models after update of plan on litellm_rotate.rotation
        execute function litellm_rotate.copy_models();`);
    const { exitCode, stderr } = await rollback.start().rotation;
    await rollback.sql(
      'drop trigger copy_models on litellm_rotate.rotation; drop function litellm_rotate.copy_models; drop table public.models_backup',
    );
    expect(stderr).toContain('sealed values were found in models_backup');
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });

  test('in fence, for a stop that fails: LiteLLM was never gone', async () => {
    const before = await rollback.look();
    const pid = await readFile(demo.service.pidFile, 'utf8');
    await hooks.before('stop', 'exit 1');
    const { exitCode, stderr } = await rollback.start().rotation;
    expect(stderr).toContain('litellm-service exited with 1');
    expect(exitCode).toBe(3);
    expect(await readFile(demo.service.pidFile, 'utf8')).toBe(pid);
    await rollback.expectRestored(before);
  });

  test('in cutover, for a key file that somebody edited behind the fence: the edit stays', async () => {
    const [before, text] = [await rollback.look(), await readFile(demo.keyFile, 'utf8')];
    await hooks.before('stop', `echo ADDED=1 >> ${demo.keyFile}`);
    const { exitCode, stderr } = await rollback.start().rotation;
    expect(stderr).toContain(`${demo.keyFile}: found a change made since the pending keys were written`);
    expect(exitCode).toBe(3);
    await rollback.expectNothingButTheEdit(before);
    await writeFile(demo.keyFile, text);
  });

  test('in start, for a port that another program has taken', async () => {
    const before = await rollback.look();
    const [reached, go] = ['reached', 'go'].map((name) => join(lab.directory, name)) as [string, string];
    await hooks.before('start', `touch ${reached}; while [ ! -e ${go} ]; do sleep 0.05; done`);
    const { workflowId, rotation } = rollback.start();
    await until('a start', async () => existsSync(reached));
    const squatter = await listenOn(Number(new URL(demo.url).port));
    onTestFinished(() => void squatter.close());
    await writeFile(go, '');
    await rollback.untilStep(workflowId, 'UNDO');
    await new Promise((resolve) => squatter.close(resolve));
    const { exitCode, stderr } = await rotation;
    expect(stderr).toMatch(/expected the start of this rotation to stay up/);
    expect(stderr).toContain('address already in use');
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });

  test('in verify, for a LiteLLM that is killed while its log is watched', async () => {
    const before = await rollback.look();
    const { workflowId, rotation } = rollback.start();
    await rollback.untilStep(workflowId, "Watch the service's log");
    process.kill(-Number((await readFile(demo.service.pidFile, 'utf8')).split(' ')[0]), 'SIGKILL');
    const { exitCode, stderr } = await rotation;
    expect(stderr).toContain('expected the start of this rotation to stay up');
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });

  test('in verify, for a config.yaml that names the previous key', async () => {
    const before = await rollback.look();
    const config = join(demo.directory, 'service', 'config.yaml');
    await hooks.before(
      'start',
      `printf '%s\\n' '${emptyConfig.trimEnd()}' '  master_key: ${rollback.master}' > ${config}`,
    );
    const { exitCode, stderr } = await rollback.start().rotation;
    await writeFile(config, emptyConfig);
    expect(stderr).toContain('refuses the pending master key');
    expect(exitCode).toBe(3);
    await rollback.expectRestored(before);
  });
});

describe('a rotation that cannot go back by itself keeps both keys and waits for a person', () => {
  test('in finish, for a key file that somebody edits: there is no way back, and "resume" completes it', async () => {
    const before = await rollback.look();
    const { workflowId, rotation } = rollback.start();
    await rollback.untilStep(workflowId, "Watch the service's log");
    const written = await readFile(demo.keyFile, 'utf8');
    await appendFile(demo.keyFile, 'ADDED=1\n');
    const { exitCode, stderr } = await rotation;
    expect(exitCode).toBe(4);
    expect(stderr).toContain('the new keys are in force and verified; what remains failed');

    const refused = await rollback.update(workflowId, 'rollback');
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain('the previous keys are destroyed, so there is no way back');
    await writeFile(demo.keyFile, written);
    expect((await rollback.update(workflowId, 'resume')).exitCode).toBe(0);
    expect((await lab.cli('status', workflowId, '--follow')).exitCode).toBe(0);

    const key = await valueIn(demo.keyFile, 'LITELLM_MASTER_KEY');
    expect(await modelsOf(demo.url, key)).toEqual({ status: 200, models: before.serving.models });
    expect((await modelsOf(demo.url, rollback.master)).status).toBe(401);
    expect(await leftovers(demo)).toEqual([]);
    expect(await journalRest(demo.databaseUrl)).toEqual(atRest);
  });
});

function listenOn(port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    const attempt = () => server.listen(port, '127.0.0.1', () => resolve(server));
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') setTimeout(attempt, 20);
      else reject(error);
    });
    attempt();
  });
}
