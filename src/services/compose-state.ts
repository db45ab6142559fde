import { describeContainer, isUp } from './docker-engine.ts';
import type { Container } from './docker-engine.ts';
import type { ServiceState } from './port.ts';

/** The containers of one service at one moment. */
export interface ComposeLook {
  /** Containers of the service itself. */
  readonly containers: readonly Container[];
  /** Containers of `docker compose run`, which have the same keys. */
  readonly oneOffs: readonly Container[];
}

export const unknownState: ServiceState = {
  state: 'failed',
  instance: undefined,
  detail: 'docker does not answer',
};

/** Nothing more to wait for: up without a healthcheck, or with its verdict, or falling over. */
export function isSettled({ status, health }: Container): boolean {
  return status === 'restarting' || (status === 'running' && health !== 'starting');
}

export function stateOf({ containers, oneOffs }: ComposeLook): ServiceState {
  const up = containers.filter(isUp);
  const detail = describe({ containers, oneOffs });
  const [only] = up;
  if (only === undefined) {
    return { state: oneOffs.some(isUp) ? 'stopping' : 'stopped', instance: undefined, detail };
  }
  if (up.length > 1) return { state: 'failed', instance: undefined, detail };
  const isBad = only.status !== 'running' || only.health === 'unhealthy';
  const state = isBad ? 'failed' : only.health === 'starting' ? 'starting' : 'running';
  return { state, instance: only.id, detail };
}

export function describe({ containers, oneOffs }: ComposeLook): string {
  const runs = oneOffs
    .filter(isUp)
    .map((container) => `${describeContainer(container)} (docker compose run)`);
  return [...containers.map(describeContainer), ...runs].join('; ') || 'without a container';
}
