import type { Proxy } from '../litellm/proxy-port.ts';
import type { Finding } from '../rotation/finding.ts';
import type { KeyPair } from '../rotation/keys.ts';
import type { Secret } from '../rotation/secret.ts';
import type { Target } from './ports.ts';
import { randomKey, type SeenModels, seeModels } from './proofs.ts';

/** Asks every replica whether it accepts the master key and no other, and which models it serves. */
export async function lookAtProxies(
  proxies: readonly Proxy[],
  master: Secret,
): Promise<{ readonly seen: SeenModels; readonly findings: readonly Finding[] }> {
  const findings: Finding[] = [];
  let seen: SeenModels = { models: 0, modelsDigest: '' };
  for (const proxy of proxies) {
    const finding = await judgeProxy(proxy, master);
    if (finding === undefined) seen = await seeModels(proxy, master);
    else findings.push(finding);
  }
  return { seen, findings };
}

async function judgeProxy(proxy: Proxy, master: Secret): Promise<Finding | undefined> {
  const blocking = (code: string, found: string, expected: string, next: string): Finding => ({
    severity: 'blocking',
    code,
    where: proxy.url,
    found,
    expected,
    next,
  });
  const { ready, detail } = await proxy.readiness();
  if (!ready)
    return blocking(
      'proxy-not-ready',
      detail,
      'a ready proxy with its database connected',
      'look at its log',
    );
  if ((await proxy.tryKey(master)) !== 'accepted')
    return blocking(
      'master-key-refused',
      'that it refuses the master key of the secret files',
      'the running proxy to use that key',
      'restart the service if the files were changed since its start, and check for a master_key in its config.yaml',
    );
  const random = await proxy.tryKey(randomKey());
  if (random === 'refused') return undefined;
  return blocking(
    'any-key-accepted',
    random === 'accepted'
      ? 'that it accepts a random key'
      : `that it answers ${random.status} to a random key`,
    'keys to be checked, and 401 for one that it does not know',
    'run it in database mode with a master key',
  );
}

/** Whether the running process was given the keys that the secret files hold, as far as that can be read. */
export async function environmentFindings(target: Target, keys: KeyPair): Promise<Finding[]> {
  const given = await target.service.environment([target.variables.master, target.variables.salt]);
  const findings: Finding[] = [];
  for (const [name, key] of [
    [target.variables.master, keys.master],
    [target.variables.salt, keys.salt],
  ] as const) {
    const value = given.get(name) ?? 'unknown';
    if (value === 'unknown' || (value === 'absent' && target.readsKeysItself)) continue;
    const same = value === 'absent' ? key === undefined : value.given.equals(key);
    if (same) continue;
    findings.push({
      severity: 'blocking',
      code: 'process-has-another-key',
      where: `${target.service.description}, variable ${name}`,
      found:
        value === 'absent'
          ? 'that the running process was not given it'
          : 'that the running process was given another value than the secret files hold',
      expected:
        key === undefined
          ? 'it to be absent, as the secret files have none'
          : 'the value of the secret files',
      next: 'check which files the service reads and in which order, then restart it once before rotating',
    });
  }
  return findings;
}
