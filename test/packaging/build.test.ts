import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startChild, untilReady } from '../../lab/child.ts';
import { buildProject } from '../../lab/project-copies.ts';
import { startTemporal } from '../../lab/temporal.ts';
import { root } from './project.ts';

/** What the Dockerfile copies out of the builder. */
const outputs = ['package.json', 'dist'];

describe('`npm run build`', () => {
  let home: string;
  let installed: string;
  const bundles = (): Promise<string[]> => readdir(join(installed, 'dist/workflow-bundles'));

  beforeAll(async () => {
    home = await realpath(await mkdtemp(join(tmpdir(), 'litellm-rotate-build-')));
    const builder = join(home, 'builder');
    installed = join(home, 'installed');
    await buildProject(builder);
    await mkdir(installed);
    await symlink(join(root, 'node_modules'), join(installed, 'node_modules'));
    for (const name of outputs) await cp(join(builder, name), join(installed, name), { recursive: true });
    await rm(builder, { recursive: true });
  }, 240_000);
  afterAll(() => rm(home, { recursive: true, force: true }));

  const cli = (...args: string[]) =>
    execa(process.execPath, [join(installed, 'dist/src/cli.js'), ...args], { cwd: home, reject: false });

  test('makes a command line that runs without the sources', async () => {
    const { exitCode, stdout, stderr } = await cli('--help');
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('Rotates the master key and the salt key of a LiteLLM deployment');
    expect((await cli('--version')).stdout).toBe(
      (JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }).version,
    );
  });

  test('makes a command line that reports a mistake in the configuration and ends with 2', async () => {
    const config = join(home, 'wrong.yaml');
    await writeFile(config, 'targets: {}\n');
    const { exitCode, stderr } = await cli('worker', '--config', config);
    expect(stderr).toBe(`litellm-rotate: error: ${config}:1: targets: expected at least one target`);
    expect(exitCode).toBe(2);
  });

  test('makes one workflow bundle, which a worker takes as it is and runs workflows from', async () => {
    const [bundle = '', ...others] = await bundles();
    expect(others).toEqual([]);
    const path = join(installed, 'dist/workflow-bundles', bundle);
    const made = (await stat(path)).mtimeMs;
    const temporal = await startTemporal();
    const connection = await Connection.connect({ address: temporal.address });
    const config = join(home, 'config.yaml');
    await cp(join(root, 'packaging/compose/litellm-rotate.yaml'), config);
    const log = join(home, 'worker.log');
    const worker = await startChild(
      process.execPath,
      [join(installed, 'dist/src/cli.js'), 'worker', '--config', config],
      {
        cwd: home,
        log,
        deathSignal: 'KILL',
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: home,
          TEMPORAL_ADDRESS: temporal.address,
          ROTATE_DATABASE_URL: 'postgresql://litellm_rotate@127.0.0.1:1/litellm',
        },
      },
    );
    try {
      await untilReady('worker', worker, log, 60_000, async () =>
        (await readFile(log, 'utf8')).includes('"worker ready"'),
      );
      const { workflow } = new Client({ connection });
      const rotation = workflow.execute('RotateMasterKey', {
        taskQueue: 'litellm-rotate',
        workflowId: 'build',
        args: [{ target: 'local', kyes: 'both' }],
      });
      await expect(rotation).rejects.toMatchObject({
        cause: { message: expect.stringContaining('kyes') as string },
      });
    } finally {
      await worker.stop('SIGTERM', 20_000);
      await connection.close();
      await temporal.stop();
    }
    expect(await bundles()).toEqual([bundle]);
    expect((await stat(path)).mtimeMs).toBe(made);
  });

  test('is packed with what the README and the runbook name, and with nothing that is not for use', async () => {
    const packed = join(home, 'packed');
    await mkdir(packed);
    for (const name of outputs) await cp(join(installed, name), join(packed, name), { recursive: true });
    for (const name of ['docs', 'packaging', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'])
      await cp(join(root, name), join(packed, name), { recursive: true });
    const { stdout } = await execa('npm', ['pack', '--dry-run', '--json'], { cwd: packed });
    const report = Object.values(JSON.parse(stdout) as object) as [{ files: { path: string }[] }];
    const paths = report[0].files.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        'dist/src/cli.js',
        `dist/workflow-bundles/${(await bundles())[0]}`,
        'docs/runbook.md',
        'docs/recovery/close.sql',
        'docs/recovery/go-back.sql',
        'packaging/database-role.sql',
        'packaging/litellm-rotate-worker.service',
        'packaging/litellm-rotate.env.example',
        'packaging/litellm-rotate.yaml.example',
      ]),
    );
    expect(
      paths.filter((path) => !/^(dist|docs|packaging)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(path)),
    ).toEqual([]);
    expect(paths.filter((path) => /\.test\.|\.d\.ts$|compose\/keys|\.env$/.test(path))).toEqual([]);
  });

  test("leaves that bundle alone when workflows are bundled from the project's own sources", async () => {
    // Both directories are under dist/, and each run removes the bundles of older sources from its own.
    const before = await bundles();
    const copy = join(home, 'sources');
    await mkdir(copy);
    await cp(join(root, 'src'), join(copy, 'src'), { recursive: true });
    await cp(join(root, 'package.json'), join(copy, 'package.json'));
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
    await cp(join(installed, 'dist'), join(copy, 'dist'), { recursive: true });
    await execa(process.execPath, [join(copy, 'src/temporal/bundle.ts')], { cwd: copy });
    expect(await readdir(join(copy, 'dist/workflow-bundles'))).toEqual(before);
    expect(await readdir(join(copy, 'dist/source-workflow-bundles'))).toHaveLength(1);
  });
});
