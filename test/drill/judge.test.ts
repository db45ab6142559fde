import { execa } from 'execa';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judge, look, type Before } from '../../drill/judge.ts';
import { createDrilledDeployment, type DrilledDeployment } from '../../drill/deployment.ts';
import { type Lane, startLane } from '../../drill/lane.ts';
import { makeSeed, newKey } from '../../drill/seed.ts';
import { open, seal } from '../../drill/sealing.ts';
import { withClient } from '../../lab/postgres.ts';

describe('the judge of the drill', () => {
  let directory: string;
  let lane: Lane;
  let count = 0;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'litellm-rotate-judge-'));
    await mkdir(join(directory, 'lane'));
    lane = await startLane('judge', join(directory, 'lane'), makeSeed());
  });
  afterAll(async () => {
    await lane.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function judgedAfter(
    tamper: (deployment: DrilledDeployment, before: Before) => Promise<unknown>,
  ): Promise<{ side: string; problems: readonly string[] }> {
    const name = `judge-${(count += 1)}`;
    const deployment = await createDrilledDeployment(lane, name, join(directory, name), { busy: false });
    await deployment.start();
    try {
      const before = await look(deployment);
      await tamper(deployment, before);
      return await judge(deployment, before, lane.seeded.virtualKey);
    } finally {
      await deployment.stop();
    }
  }
  const sql = (deployment: DrilledDeployment, text: string, values: readonly unknown[] = []) =>
    withClient(deployment.databaseUrl, (client) => client.query(text, [...values]));

  it('says "restored" of a deployment that nobody touched', async () => {
    expect(await judgedAfter(async () => undefined)).toEqual({ side: 'restored', problems: [] });
  });

  it('sees that one value was sealed again under the same key', async () => {
    const { salt } = lane.seeded.keys;
    const { side, problems } = await judgedAfter(async (deployment) => {
      const path = `credential_values->>'api_key'`;
      const where = `from "LiteLLM_CredentialsTable" where credential_id = 'credential-7'`;
      const { rows } = await sql(deployment, `select ${path} as text ${where}`);
      const again = seal(open((rows[0] as { text: string }).text, salt) ?? '', salt);
      await sql(
        deployment,
        `update "LiteLLM_CredentialsTable" set credential_values = credential_values || jsonb_build_object('api_key', $1::text)
         where credential_id = 'credential-7'`,
        [again],
      );
    });
    expect({ side, problems }).toEqual({
      side: 'between',
      problems: ['LiteLLM_CredentialsTable: the rows are not those of before'],
    });
  });

  it('calls it lost when a row is gone', async () => {
    const { side } = await judgedAfter((deployment) =>
      sql(deployment, `delete from "LiteLLM_CredentialsTable" where credential_id = 'credential-7'`),
    );
    expect(side).toBe('lost');
  });

  it('calls new keys in the files over a database under the old ones neither new nor restored', async () => {
    const { side, problems } = await judgedAfter(async (deployment, before) => {
      const text = before.files[0]?.bytes ?? '';
      const { master, salt } = lane.seeded.keys;
      await writeFile(deployment.keyFile, text.replaceAll(master, newKey()).replaceAll(salt, newKey()));
    });
    expect(side).toBe('between');
    expect(problems).toContain('LiteLLM_ProxyModelTable: a row with values under a previous key');
  });

  it('sees what is left behind beside the key file, and a service that is down', async () => {
    const { side, problems } = await judgedAfter(async (deployment) => {
      await mkdir(join(deployment.directory, '.litellm-rotate'));
      await deployment.stop();
    });
    expect({ side, problems }).toEqual({
      side: 'between',
      problems: ['left behind: .litellm-rotate', 'the service is not up with the key of the files'],
    });
  });

  it('sees that the service was started with a key that does not open its values', async () => {
    const { problems } = await judgedAfter(async (deployment, before) => {
      await deployment.stop();
      const text = before.files[0]?.bytes ?? '';
      await writeFile(deployment.keyFile, text.replaceAll(lane.seeded.keys.salt, newKey()));
      await execa(deployment.service.script, ['start', deployment.service.description], { stdio: 'ignore' });
      while (!(await readFile(deployment.bootLog, 'utf8')).includes('refused')) await sleep(50);
      await writeFile(deployment.keyFile, text);
      await deployment.start();
    });
    expect(problems).toEqual(['the service was started 1 time(s) with a key that does not open its values']);
  });
});
