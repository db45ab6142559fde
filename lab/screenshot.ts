import { execa } from 'execa';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client as PostgresClient } from 'pg';
import { type Browser, chromium } from 'playwright-core';
import { stopAll, untilStopped } from './cleanup.ts';
import { createDeployment, type Deployment, writeConfig } from './deployment.ts';
import { isReady } from './litellm/proxy.ts';
import { startProvider } from './litellm/provider.ts';
import { seedLiteLLM } from './litellm/seed.ts';
import { startPostgres } from './postgres.ts';
import { canRunSystemd, startSystemdBox } from './systemd-box.ts';
import { startTemporal } from './temporal.ts';
import { cliPath, startWorker } from './worker.ts';

/*
 * Takes docs/pictures anew: a LiteLLM under a real systemd, one rotation that ends on the new keys and one that is rolled
 * back, each as the Temporal UI draws it. Needs root, for systemd, and a Chromium (CHROMIUM, else /usr/bin/chromium).
 *
 *   node lab/screenshot.ts
 *
 * Neither the demo nor a test needs this.
 */
const pictures = join(import.meta.dirname, '..', 'docs', 'pictures');
const width = 1800;
/** Of the UI's own navigation, at the left. */
const navigation = 64;

async function main(): Promise<void> {
  const refusal = canRunSystemd();
  if (refusal !== undefined) throw new Error(refusal);
  // A short path: it stands in the pictures.
  const directory = join(tmpdir(), 'litellm');
  await mkdir(directory);
  untilStopped(
    () => rm(directory, { recursive: true, force: true }),
    () => undefined,
  );
  const [temporal, postgres, provider] = await Promise.all([
    startTemporal(),
    startPostgres(),
    startProvider(),
  ]);
  const deployment = await createDeployment({ postgres, directory, name: 'demo' });
  const box = await startSystemdBox({ units: { 'litellm.service': unitOf(deployment) } });
  await box.exec('systemctl', ['start', 'litellm.service']);
  while (!(await isReady(deployment.url).catch(() => false)))
    await new Promise((wake) => setTimeout(wake, 500));
  await seedLiteLLM({
    url: deployment.url,
    masterKey: deployment.keys.master,
    databaseUrl: deployment.databaseUrl,
    signingKey: deployment.keys.salt ?? deployment.keys.master,
    providerUrl: provider.url,
  });
  const config = join(directory, 'litellm-rotate.yaml');
  await writeConfig(config, [{ name: 'demo', target: targetOf(deployment) }]);
  await startWorker({
    directory,
    config,
    temporalAddress: temporal.address,
    env: deployment.workerEnv,
    launch: box.command('env'),
  });
  const rotate = (workflowId: string) =>
    execa(process.execPath, [cliPath, 'rotate', 'demo', '--workflow-id', workflowId], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { TEMPORAL_ADDRESS: temporal.address, USER: 'demo' },
      reject: false,
    });

  await rotate('rotate-demo-1');
  const report = new PostgresClient({
    connectionString: deployment.databaseUrl,
    application_name: 'a long report',
  });
  await report.connect();
  await report.query('begin; lock table "LiteLLM_CredentialsTable" in row exclusive mode');
  await rotate('rotate-demo-2');
  await report.end();

  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
  try {
    const workflow = (id: string) => `${temporal.uiUrl}/namespaces/default/workflows/${id}`;
    await photograph(browser, workflow('rotate-demo-1'), 'timeline', { panels: false });
    await photograph(browser, workflow('rotate-demo-2'), 'rolled-back', { panels: true });
  } finally {
    await browser.close();
  }
}

/**
 * The head of a workflow's page and its timeline, oldest step first, cropped to what is drawn. The panels of input and
 * result stay where the whole of them is seen: the result of a rotation is longer than its panel.
 */
async function photograph(
  browser: Browser,
  address: string,
  name: string,
  { panels }: { readonly panels: boolean },
): Promise<void> {
  const page = await browser.newPage({
    viewport: { width: width + navigation, height: 2400 },
    colorScheme: 'light',
  });
  // Not 'networkidle': the page polls.
  await page.goto(address, { waitUntil: 'load' });
  await page.getByRole('button', { name: 'Descending' }).click();
  await page.getByRole('button', { name: 'Minimized' }).click();
  // Off the button, whose hint would lie over the picture.
  await page.mouse.move(width / 2, 20);
  if (!panels) await page.getByTestId('input-and-result').evaluate((row) => row.remove());
  await page.waitForTimeout(2_000);
  const head = await page.getByText('Back to Workflows').boundingBox();
  const axis = await page
    .getByText(/^(\d+(m|s|ms) ?)+$/)
    .last()
    .boundingBox();
  if (head === null || axis === null) throw new Error(`${address}: found no timeline on the page`);
  const [top, bottom] = [head.y + head.height, axis.y + axis.height + 24];
  await page.screenshot({
    path: join(pictures, `${name}.png`),
    clip: { x: navigation, y: top, width, height: bottom - top },
  });
  await page.close();
}

function unitOf({ service, keyFile, envFile }: Deployment): string {
  return `[Unit]
Description=LiteLLM proxy
[Service]
Type=exec
EnvironmentFile=${keyFile}
EnvironmentFile=${envFile}
Environment=PROXY_CONFIG_RELOAD_INTERVAL_SECONDS=5
ExecStart=${service.command('exec').join(' ')}
TimeoutStopSec=30
`;
}

function targetOf({ target, keyFile, envFile }: Deployment): Record<string, unknown> {
  return {
    ...target,
    database: { ...(target['database'] as object), lockTimeout: '1s' },
    secrets: {
      ...(target['secrets'] as object),
      files: [
        { path: keyFile, role: 'keys', reader: 'systemd' },
        { path: envFile, role: 'copies', reader: 'systemd' },
      ],
    },
    service: { type: 'systemd', unit: 'litellm.service' },
  };
}

try {
  await main();
} catch (error) {
  console.error(`screenshot: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
