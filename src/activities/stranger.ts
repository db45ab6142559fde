import type { Finding } from '../rotation/finding.ts';
import type { Target } from './ports.ts';

/**
 * Who else than the service listens where keys are about to be sent, in words; undefined when nobody does. LiteLLM's port is
 * anybody's while it is stopped, and who takes it then would be sent the new master key.
 */
export async function findStranger({
  proxies,
  service,
}: Pick<Target, 'proxies' | 'service'>): Promise<string | undefined> {
  for (const { url } of proxies) {
    const { hostname, port, protocol } = new URL(url);
    if (!/^(localhost|127\..*|\[::1\])$/.test(hostname)) continue;
    const [user] = await service.strangers(Number(port || (protocol === 'https:' ? 443 : 80)));
    if (user !== undefined)
      return `${url}: found that a process of user ${user}, which is not the service's, listens on its port`;
  }
  return undefined;
}

/** The same for a plan and for `doctor`. */
export async function strangerFinding(
  target: Pick<Target, 'proxies' | 'service'>,
): Promise<Finding | undefined> {
  const found = await findStranger(target);
  if (found === undefined) return undefined;
  return {
    severity: 'blocking',
    code: 'port-of-another',
    where: target.service.description,
    found,
    expected: "LiteLLM's own processes, or root's, alone to listen there, as its keys are sent there",
    next: 'end that process, or give LiteLLM its own address as proxy.url',
  };
}
