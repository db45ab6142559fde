import { environmentOf, processesOf } from './control-group.ts';
import { describeOutcome, succeeded, thisHost } from './host.ts';
import { strangersOn } from './listeners.ts';
import type { Host } from './host.ts';
import { journalLines } from './journal.ts';
import type { GivenValue, Service, ServiceState } from './port.ts';
import { givenValues } from './process-environment.ts';
import { describeResult } from './systemd-failure.ts';
import { unitFindings } from './systemd-findings.ts';
import { createSystemdManager, lookMs, managerUnreachable, refusal } from './systemd-manager.ts';
import { stateOf, stateText, unknownState } from './systemd-state.ts';
import { hasEnded, isDown, isRunning } from './systemd-unit.ts';
import type { Unit } from './systemd-unit.ts';
import { lookUntil, pause, settleMs } from './waiting.ts';

export interface SystemdServiceOptions {
  /** `litellm.service`; `.service` may be left out. */
  readonly unit: string;
  readonly scope: 'system' | 'user';
  /** Milliseconds. @default twice TimeoutStopSec= (SIGTERM, then SIGKILL) plus 15 s; 5 min when that is infinite */
  readonly stopTimeoutMs?: number;
  /** Milliseconds. @default TimeoutStartSec= plus 15 s; 5 min when that is infinite */
  readonly startTimeoutMs?: number;
  /** Files that the rotation writes and the unit must read, in reading order. */
  readonly envFiles?: readonly string[];
  /** Names of the variables that hold the keys. @default LITELLM_MASTER_KEY, LITELLM_SALT_KEY */
  readonly variables?: readonly string[];
  /** @default this machine */
  readonly host?: Host;
}

const marginMs = 15_000;
const unboundedMs = 300_000;
// Between systemd's "stopped" and the second look that confirms it.
const restMs = 250;
// After a stop job is done, for the kernel to empty the control group.
const emptyMs = 3_000;

/**
 * LiteLLM as a systemd service, driven with plain `systemctl` and `journalctl`. A job goes on when its client dies: a
 * later call looks at the unit and joins the job. Measured on systemd 252.
 */
export function createSystemdService(options: SystemdServiceOptions): Service {
  const host = options.host ?? thisHost;
  const isUser = options.scope === 'user';
  const manager = createSystemdManager(options.unit, options.scope, host);
  const { unit, systemctl, look, failure, journalHint } = manager;

  const describeState = async (seen: Unit): Promise<ServiceState> => {
    const left = isDown(seen) ? await processesOf(host, seen.controlGroup) : [];
    return stateOf(seen, left);
  };

  return {
    description: `systemd ${isUser ? 'user unit' : 'unit'} ${unit}`,

    async inspect() {
      let seen: Unit;
      try {
        seen = await look();
      } catch (error) {
        return { findings: [managerUnreachable(manager, error)], state: unknownState };
      }
      const findings = unitFindings(seen, {
        unit,
        systemctl,
        obeyed: isUser || (await isRoot(host)),
        envFiles: options.envFiles ?? [],
        variables: options.variables ?? ['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'],
        realPath: await realPaths(host, [
          ...(options.envFiles ?? []),
          ...seen.environmentFiles.map(({ path }) => path),
        ]),
      });
      return { findings, state: await describeState(seen) };
    },

    async observe() {
      return await describeState(await look());
    },

    async stop(fence, signal) {
      const before = await manager.loadedUnit();
      const timeoutMs = options.stopTimeoutMs ?? bound(before.stopTimeoutMs * 2);
      const isStopped = async (): Promise<{ seen: Unit; left: readonly number[] }> => {
        const seen = await look();
        return { seen, left: await processesOf(host, seen.controlGroup ?? before.controlGroup) };
      };
      if (!isDown(before)) {
        await fence.assert();
        // Joins a stop job that is under way, and replaces a restart job: systemd merges the jobs of one unit.
        const outcome = await manager.run(['stop', '--', unit], timeoutMs, signal);
        const seen = await look();
        if (!isDown(seen) && !succeeded(outcome)) {
          throw failure(
            `${unit} is ${stateText(seen)} and \`${systemctl} stop\` ${describeOutcome(outcome, timeoutMs)}${refusal(outcome)}; ` +
              `expected it to stop; the stop job goes on if there is one, and the next attempt joins it (\`${systemctl} status ${unit}\`)`,
            seen,
          );
        }
      }
      const accepted = ({ seen, left }: { seen: Unit; left: readonly number[] }): boolean =>
        isDown(seen) && left.length === 0;
      await lookUntil(isStopped, accepted, { timeoutMs: emptyMs, signal });
      // A second look, for a socket, a timer or an Upholds= that starts it again.
      await pause(restMs, signal);
      const { seen, left } = await isStopped();
      if (!isDown(seen)) {
        throw failure(
          `${unit} is ${stateText(seen)} again after its stop; expected it to stay stopped; ` +
            `find out what starts it (\`${systemctl} show -p TriggeredBy,UpheldBy,WantedBy ${unit}\`) and stop that first`,
          seen,
        );
      }
      if (left.length > 0) {
        throw failure(
          `${unit} is ${seen.activeState}, but ${left.length} of its processes still run (pid ${left.join(', ')}); ` +
            'expected none; end them, and set KillMode=control-group in the unit',
          seen,
        );
      }
      return { state: 'stopped', instance: undefined, detail: stateText(seen) };
    },

    async start(fence, signal) {
      const before = await manager.loadedUnit();
      const timeoutMs = options.startTimeoutMs ?? bound(before.startTimeoutMs);
      if (!isRunning(before)) {
        await fence.assert();
        // The start limit counts manual starts too, and a start beyond it leaves a healthy unit down. Fails harmlessly
        // when the unit is not in memory, which has no count either.
        await manager.run(['reset-failed', '--', unit], lookMs, signal);
        await fence.assert();
        const outcome = await manager.run(['start', '--', unit], timeoutMs, signal);
        if (!succeeded(outcome)) {
          const seen = await look();
          throw failure(
            `${unit} did not start: \`${systemctl} start\` ${describeOutcome(outcome, timeoutMs)}${refusal(outcome)}, ` +
              `the unit is ${stateText(seen)}${seen.result === 'success' ? '' : `, and ${describeResult(seen)}`}; ` +
              `expected active (running); read ${journalHint(seen)}`,
            seen,
          );
        }
      }
      return stateOf(await settled(timeoutMs, signal), []);
    },

    async environment(names) {
      for (let attempt = 0; attempt < 3; attempt += 1) {
        const seen = await look();
        if (seen.mainPid === 0) break;
        const pids = new Set([seen.mainPid, ...(await processesOf(host, seen.controlGroup))]);
        const environments = await Promise.all([...pids].map((pid) => environmentOf(host, pid)));
        const after = await look();
        // Otherwise a pid may have been another process when its environment was read.
        if (after.invocation === seen.invocation && after.mainPid === seen.mainPid) {
          return givenValues(
            names,
            environments.filter((environment) => environment !== undefined),
          );
        }
      }
      return new Map(names.map((name): [string, GivenValue] => [name, 'unknown']));
    },

    async strangers(port) {
      const { mainPid, controlGroup } = await look();
      return await strangersOn(host, port, [mainPid, ...(await processesOf(host, controlGroup))]);
    },

    log: (instance, lines) => journalLines(host, instance, lines, manager.environment),
  };

  /** Waits until the unit is up and has stayed the same start for a moment; a unit that falls over is a failure at once. */
  async function settled(timeoutMs: number, signal: AbortSignal): Promise<Unit> {
    const up = await lookUntil(look, (seen) => isRunning(seen) || hasEnded(seen), { timeoutMs, signal });
    if (isRunning(up)) {
      await pause(settleMs, signal);
      const seen = await look();
      const same = isRunning(seen) && seen.invocation === up.invocation && seen.mainPid === up.mainPid;
      if (same && seen.restarts === up.restarts) return seen;
      const why = seen.result === 'success' ? 'systemd has restarted it by itself' : describeResult(seen);
      throw failure(
        `${unit} started and fell over: it is ${stateText(seen)}, and ${why}; ` +
          `expected it to stay active (running); read ${journalHint(up)}`,
        { ...seen, invocation: up.invocation },
      );
    }
    throw failure(
      `${unit} is ${stateText(up)} after its start, and ${describeResult(up)}; ` +
        `expected active (running); read ${journalHint(up)}`,
      up,
    );
  }
}

function bound(systemdTimeoutMs: number): number {
  return Number.isFinite(systemdTimeoutMs) ? systemdTimeoutMs + marginMs : unboundedMs;
}

async function isRoot(host: Host): Promise<boolean> {
  const { stdout } = await host.run('id', ['-u'], { timeoutMs: lookMs });
  return stdout.trim() === '0';
}

async function realPaths(host: Host, paths: readonly string[]): Promise<(path: string) => string> {
  const outcome = await host.run('realpath', ['--canonicalize-missing', '--zero', '--', ...paths], {
    timeoutMs: lookMs,
  });
  const resolved = succeeded(outcome) ? outcome.stdout.split('\0') : [];
  const known = new Map(paths.map((path, index) => [path, resolved[index] ?? path]));
  return (path) => known.get(path) ?? path;
}
