import { callCanary, installCanary, removeCanary } from '../canary/canary.ts';
import { startEchoEndpoint } from '../canary/echo-endpoint.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import { type KeyGenerations, signingKey } from '../rotation/keys.ts';
import type { Secret } from '../rotation/secret.ts';
import { withHeartbeat } from './context.ts';
import { generationsOf } from './generations.ts';
import type { Job, Ports, Target } from './ports.ts';

/**
 * The canary: a model stored before the cutover, whose provider is an endpoint of ours. A call through it afterwards
 * shows that LiteLLM opened the stored credential and sent the right secret.
 */
export function createCanaryActivities(ports: Ports) {
  return {
    /** Stores the canary's model and virtual key under the current keys; returns the port that its provider must use. */
    async installCanary(job: Job): Promise<{ port: number }> {
      const target = ports.target(job.target);
      return withHeartbeat(async (signal) => {
        const generations = await generationsOf(target, job);
        const endpoint = await startEchoEndpoint({ host: target.canary.host, port: target.canary.port });
        try {
          const options = {
            ...canaryOf(target, job, generations),
            endpointUrl: target.canary.url ?? endpoint.url,
          };
          await installCanary({ ...options, masterKey: generations.previous.master });
          await callCanary({ ...options, endpoint, signal });
          return { port: endpoint.port };
        } finally {
          await endpoint.close();
        }
      });
    },

    /** Calls the stored model through the proxy with the stored virtual key, and compares what the provider was sent. */
    async verifyCanary(job: Job & { port: number }): Promise<void> {
      const target = ports.target(job.target);
      await withHeartbeat(async (signal) => {
        const generations = await generationsOf(target, job);
        const endpoint = await startEchoEndpoint({ host: target.canary.host, port: job.port });
        try {
          await callCanary({ ...canaryOf(target, job, generations), endpoint, signal });
        } finally {
          await endpoint.close();
        }
      });
    },

    /** Deletes its model and its virtual key, with whichever master key the proxy has now. */
    async removeCanary(job: Job): Promise<void> {
      const target = ports.target(job.target);
      // A slot that is out of sight is not passed over: a virtual key would stay valid, and both generations in it.
      const generations = await generationsOf(target, job);
      await withHeartbeat(async () => {
        const masterKey = await acceptedKey(target, generations);
        await removeCanary({ ...canaryOf(target, job, generations), masterKey });
      });
    },
  };
}

function canaryOf(target: Target, { rotation }: Job, generations: KeyGenerations) {
  const [proxy] = target.proxies;
  if (proxy === undefined)
    throw new RotationError(failureTypes.refused, `target ${target.name}: found no proxy URL, expected one`);
  return { proxy, seed: canarySeed(generations), rotation };
}

/** A key of this rotation alone, so that a retry or another worker derives the same secrets from it. */
export function canarySeed({ previous, pending }: KeyGenerations): Secret {
  return pending.master.equals(previous.master) ? signingKey(pending) : pending.master;
}

async function acceptedKey(target: Target, { previous, pending }: KeyGenerations): Promise<Secret> {
  for (const key of [pending.master, previous.master]) {
    if ((await target.proxies[0]?.tryKey(key)) === 'accepted') return key;
  }
  throw new RotationError(
    failureTypes.proxyFailed,
    `${target.proxies[0]?.url}: found that it accepts neither the pending nor the previous master key; expected one of them; look at the service's log`,
  );
}
