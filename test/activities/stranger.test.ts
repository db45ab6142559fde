import { MockActivityEnvironment } from '@temporalio/testing';
import { spawn } from 'node:child_process';
import { chmod, chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../lab/child.ts';
import type { Ports } from '../../src/activities/ports.ts';
import { createPreflightActivities } from '../../src/activities/preflight.ts';
import { createServiceActivities } from '../../src/activities/service.ts';
import { checkProxy } from '../../src/cli/doctor.ts';
import type { Proxy } from '../../src/litellm/proxy-port.ts';
import { createProxy } from '../../src/litellm/proxy.ts';
import { Secret } from '../../src/rotation/secret.ts';
import { createCommandService } from '../../src/services/command-service.ts';
import { temporaryDirectory } from '../secret-stores/store-fixture.ts';

const rotation = 'rotation-1';

// As root alone: only root can start a process of another user.
test.runIf(process.getuid?.() === 0)(
  'LiteLLM is not ready, and no key is sent, while another user has its port: it was free while LiteLLM was stopped',
  async () => {
    const [port, directory] = [await freePort(), temporaryDirectory()];
    const [pid, calls] = [join(directory, 'pid'), join(directory, 'calls')];
    await chmod(directory, 0o755);
    await writeFile(calls, '');
    await chown(calls, 65_534, 65_534);
    const service = createCommandService({
      start: ['true'],
      stop: ['true'],
      status: ['sh', '-c', `echo running $(cat ${pid})`],
    });
    const target = {
      service,
      proxies: [createProxy({ url: `http://127.0.0.1:${port}` })],
      timing: { readyTimeoutMs: 20_000 },
      store: {
        generations: async () => undefined,
        inspect: async () => ({ findings: [], places: [], current: { master: new Secret('sk-m') } }),
      },
    };
    const ports = { target: () => target } as unknown as Ports;
    const activities = createServiceActivities(ports);
    const ready = () =>
      new MockActivityEnvironment().run(() =>
        activities.awaitReady({ target: 'prod', rotation, instance: null }),
      );
    const answering = [
      'import http.server',
      'class Answer(http.server.BaseHTTPRequestHandler):',
      '  def do_GET(self):',
      `    open('${calls}', 'a').write(str(self.headers))`,
      '    self.send_response(200); self.end_headers()',
      `    self.wfile.write(b'{"db":"connected"}')`,
      `http.server.HTTPServer(('127.0.0.1', ${port}), Answer).serve_forever()`,
    ].join('\n');
    const squatter = spawn('python3', ['-c', answering], {
      uid: 65_534,
      gid: 65_534,
      cwd: '/',
      stdio: 'ignore',
    });
    const litellm = spawn('sleep', ['300']);
    onTestFinished(() => void [squatter, litellm].map((child) => child.kill()));
    await writeFile(pid, `${litellm.pid}`);
    await expect(ready()).rejects.toMatchObject({
      type: 'ServiceFailed',
      message: expect.stringContaining('a process of user 65534') as string,
    });
    const looks = createPreflightActivities(ports);
    const inspected = await new MockActivityEnvironment().run(() =>
      looks.inspectProxy({ target: 'prod', rotation }),
    );
    expect(inspected).toMatchObject({ findings: [{ severity: 'blocking', code: 'port-of-another' }] });
    const [proxy] = target.proxies;
    const master = new Secret('sk-m');
    expect(await checkProxy(proxy as Proxy, service, master)).toMatchObject({
      detail: 'not asked',
      findings: [{ severity: 'blocking', code: 'port-of-another' }],
    });
    const headers = await readFile(calls, 'utf8');
    expect(headers).toContain('host: 127.0.0.1');
    expect(headers).not.toMatch(/authorization/i);
    // As the service's own, it may.
    await writeFile(pid, `${squatter.pid}`);
    await expect(ready()).resolves.toMatchObject({ seconds: expect.any(Number) as number });
    expect(await checkProxy(proxy as Proxy, service, master)).toMatchObject({ findings: [] });
    expect(await readFile(calls, 'utf8')).toMatch(/authorization/i);
  },
);
