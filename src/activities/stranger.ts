import type { Target } from './ports.ts';

/**
 * Who else than the service listens where keys are about to be sent, in words; undefined when nobody does. LiteLLM's port is
 * anybody's while it is stopped, and who takes it then would be sent the new master key.
 */
export async function findStranger({ proxies, service }: Target): Promise<string | undefined> {
  for (const { url } of proxies) {
    const { hostname, port, protocol } = new URL(url);
    if (!/^(localhost|127\..*|\[::1\])$/.test(hostname)) continue;
    const [user] = await service.strangers(Number(port || (protocol === 'https:' ? 443 : 80)));
    if (user !== undefined)
      return `${url}: found that a process of user ${user}, which is not the service's, listens on its port`;
  }
  return undefined;
}
