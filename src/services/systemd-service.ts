import { RotationError, failureTypes } from '../rotation/failure.ts';
import type { Finding } from '../rotation/finding.ts';
import { processesOf } from './control-group.ts';
import { describeOutcome, succeeded, thisHost } from './host.ts';
import type { Host, Outcome } from './host.ts';
import { journalLines } from './journal.ts';
import type { GivenValue, Service, ServiceState } from './port.ts';
import { givenValues, parseEnviron, unreadableEnvironment } from './process-environment.ts';
import type { ProcessEnvironment } from './process-environment.ts';
import { isGone } from './process-table.ts';
import { describeResult } from './systemd-failure.ts';
import { unitFindings } from './systemd-findings.ts';
import { hasEnded, isDown, isRunning, parseUnit, propertyList } from './systemd-unit.ts';
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

const lookMs = 20_000;
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
  const unit = unitName(options.unit);
  const host = options.host ?? thisHost;
  const isUser = options.scope === 'user';
  const scope = isUser ? ['--user'] : [];
  const systemctlText = ['systemctl', ...scope].join(' ');
  const description = `systemd ${isUser ? 'user unit' : 'unit'} ${unit}`;
  // Our user manager's socket is found through XDG_RUNTIME_DIR (pam_systemd(8)); times are parsed in UTC.
  const environment = {
    LC_ALL: 'C',
    TZ: 'UTC',
    ...(isUser ? { XDG_RUNTIME_DIR: `/run/user/${process.getuid?.() ?? 0}` } : {}),
  };

  const systemctl = (args: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<Outcome> =>
    host.run('systemctl', [...scope, '--no-ask-password', ...args], { timeoutMs, signal, environment });

  const look = async (): Promise<Unit> => {
    const outcome = await systemctl(['show', `--property=${propertyList}`, '--', unit], lookMs);
    if (succeeded(outcome)) return parseUnit(outcome.stdout);
    throw failure(
      `${systemctlText} show ${unit} ${describeOutcome(outcome, lookMs)}; expected the properties of the unit; ` +
        'check that systemd runs on this machine and that its bus can be reached',
    );
  };

  const failure = (message: string, seen?: Unit): RotationError =>
    new RotationError(failureTypes.serviceFailed, message, {
      facts: {
        unit,
        ...(seen && {
          instance: seen.invocation,
          state: seen.activeState,
          result: seen.result,
          status: seen.exitStatus,
        }),
      },
    });

  const journalHint = (seen: Unit): string =>
    `\`journalctl${isUser ? ' --user' : ''} _SYSTEMD_INVOCATION_ID=${seen.invocation ?? '...'}\``;

  const describeState = async (seen: Unit): Promise<ServiceState> => {
    const left = isDown(seen) ? await processesOf(host, seen.controlGroup) : [];
    return stateOf(seen, left);
  };

  const loadedUnit = async (): Promise<Unit> => {
    const seen = await look();
    if (seen.loadState === 'loaded') return seen;
    throw failure(
      `${unit} has LoadState=${seen.loadState}; expected a loaded unit; look at \`${systemctlText} status ${unit}\``,
      seen,
    );
  };

  return {
    description,

    async inspect() {
      let seen: Unit;
      try {
        seen = await look();
      } catch (error) {
        return { findings: [managerUnreachable(unit, systemctlText, error)], state: unknownState };
      }
      const findings = unitFindings(seen, {
        unit,
        systemctl: systemctlText,
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
      const before = await loadedUnit();
      const timeoutMs = options.stopTimeoutMs ?? bound(before.stopTimeoutMs * 2);
      const isStopped = async (): Promise<{ seen: Unit; left: readonly number[] }> => {
        const seen = await look();
        return { seen, left: await processesOf(host, seen.controlGroup ?? before.controlGroup) };
      };
      if (!isDown(before)) {
        await fence.assert();
        // Joins a stop job that is under way, and replaces a restart job: systemd merges the jobs of one unit.
        const outcome = await systemctl(['stop', '--', unit], timeoutMs, signal);
        const seen = await look();
        if (!isDown(seen) && !succeeded(outcome)) {
          throw failure(
            `${unit} is ${stateText(seen)} and \`${systemctlText} stop\` ${describeOutcome(outcome, timeoutMs)}${refusal(outcome)}; ` +
              `expected it to stop; the stop job goes on if there is one, and the next attempt joins it (\`${systemctlText} status ${unit}\`)`,
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
            `find out what starts it (\`${systemctlText} show -p TriggeredBy,UpheldBy,WantedBy ${unit}\`) and stop that first`,
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
      const before = await loadedUnit();
      const timeoutMs = options.startTimeoutMs ?? bound(before.startTimeoutMs);
      if (!isRunning(before)) {
        await fence.assert();
        // The start limit counts manual starts too, and a start beyond it leaves a healthy unit down. Fails harmlessly
        // when the unit is not in memory, which has no count either.
        await systemctl(['reset-failed', '--', unit], lookMs, signal);
        await fence.assert();
        const outcome = await systemctl(['start', '--', unit], timeoutMs, signal);
        if (!succeeded(outcome)) {
          const seen = await look();
          throw failure(
            `${unit} did not start: \`${systemctlText} start\` ${describeOutcome(outcome, timeoutMs)}${refusal(outcome)}, ` +
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

    log: (instance, lines) => journalLines(host, instance, lines, environment),
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

const unknownState: ServiceState = {
  state: 'failed',
  instance: undefined,
  detail: 'systemd does not answer',
};

function unitName(name: string): string {
  const unit = /\.[a-z]+$/.test(name) ? name : `${name}.service`;
  if (/^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.service$/.test(unit)) return unit;
  throw new RotationError(
    failureTypes.refused,
    `found the unit name ${JSON.stringify(name)}; expected one service unit, as in litellm.service; correct the configuration`,
  );
}

function bound(systemdTimeoutMs: number): number {
  return Number.isFinite(systemdTimeoutMs) ? systemdTimeoutMs + marginMs : unboundedMs;
}

function stateOf(seen: Unit, left: readonly number[]): ServiceState {
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

function stateText(seen: Unit): string {
  const pid = seen.mainPid === 0 ? '' : `, pid ${seen.mainPid}`;
  const since = seen.since === undefined || seen.mainPid === 0 ? '' : `, since ${seen.since}`;
  const result = seen.activeState === 'failed' ? `, Result=${seen.result}` : '';
  return `${seen.activeState} (${seen.subState})${pid}${since}${result}`;
}

/** Undefined when the process has ended. */
async function environmentOf(host: Host, pid: number): Promise<ProcessEnvironment | undefined> {
  try {
    return parseEnviron(await host.readFile(`/proc/${pid}/environ`));
  } catch (error) {
    return isGone(error) ? undefined : unreadableEnvironment;
  }
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

// systemctl's own words for it, from polkit and from the bus; its exit code is 1 or 4, depending on the version.
function refusal({ stderr }: Outcome): string {
  return /Access denied|[Aa]uthentication (is )?required|Permission denied|not permitted/.test(stderr)
    ? ' (we are not allowed to: run the worker as root, or add a polkit rule)'
    : '';
}

function managerUnreachable(unit: string, systemctl: string, error: unknown): Finding {
  return {
    severity: 'blocking',
    code: 'service-manager-unreachable',
    where: unit,
    found: error instanceof RotationError ? error.message : 'that systemctl does not answer',
    expected: 'a systemd that answers',
    next: `run \`${systemctl} status\` as the user of the worker`,
  };
}
