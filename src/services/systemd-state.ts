import type { ServiceState } from './port.ts';
import { hasEnded, isDown } from './systemd-unit.ts';
import type { Unit } from './systemd-unit.ts';

export const unknownState: ServiceState = {
  state: 'failed',
  instance: undefined,
  detail: 'systemd does not answer',
};

/** A unit's state in the service's words. `left`: processes in its control group although it is down. */
export function stateOf(seen: Unit, left: readonly number[]): ServiceState {
  const instance = seen.invocation;
  const detail = stateText(seen);
  if (left.length > 0) {
    return {
      state: 'stopping',
      instance,
      detail: `${detail}, but ${left.length} of its processes still run`,
    };
  }
  if (seen.activeState === 'inactive' && isDown(seen))
    return { state: 'stopped', instance: undefined, detail };
  if (seen.activeState === 'deactivating') return { state: 'stopping', instance, detail };
  if (seen.activeState === 'failed' || hasEnded(seen)) return { state: 'failed', instance, detail };
  const up = seen.activeState === 'active' || seen.activeState === 'reloading';
  return { state: up ? 'running' : 'starting', instance, detail };
}

export function stateText(seen: Unit): string {
  const pid = seen.mainPid === 0 ? '' : `, pid ${seen.mainPid}`;
  const since = seen.since === undefined || seen.mainPid === 0 ? '' : `, since ${seen.since}`;
  const result = seen.activeState === 'failed' ? `, Result=${seen.result}` : '';
  return `${seen.activeState} (${seen.subState})${pid}${since}${result}`;
}
