import { RotationError, failureTypes } from '../rotation/failure.ts';
import type { Finding } from '../rotation/finding.ts';
import { describeOutcome, succeeded } from './host.ts';
import type { Host, Outcome } from './host.ts';
import { parseUnit, propertyList } from './systemd-unit.ts';
import type { Unit } from './systemd-unit.ts';

/** The system's manager or a user's, asked about one unit through plain `systemctl`. */
export interface SystemdManager {
  /** As in `litellm.service`. */
  readonly unit: string;
  /** `systemctl`, with the options that lead to this manager. */
  readonly systemctl: string;
  /** That of every program that asks this manager. */
  readonly environment: Readonly<Record<string, string>>;
  readonly run: (args: readonly string[], timeoutMs: number, signal?: AbortSignal) => Promise<Outcome>;
  readonly look: () => Promise<Unit>;
  /** As `look`; a unit that is not loaded is a failure. */
  readonly loadedUnit: () => Promise<Unit>;
  readonly failure: (message: string, seen?: Unit) => RotationError;
  /** The command that shows the log of one start. */
  readonly journalHint: (seen: Unit) => string;
}

export const lookMs = 20_000;

export function createSystemdManager(name: string, scope: 'system' | 'user', host: Host): SystemdManager {
  const unit = unitName(name);
  const isUser = scope === 'user';
  const options = isUser ? ['--user'] : [];
  const systemctl = ['systemctl', ...options].join(' ');
  // Our user manager's socket is found through XDG_RUNTIME_DIR (pam_systemd(8)); times are parsed in UTC.
  const environment = {
    LC_ALL: 'C',
    TZ: 'UTC',
    ...(isUser ? { XDG_RUNTIME_DIR: `/run/user/${process.getuid?.() ?? 0}` } : {}),
  };

  const manager: SystemdManager = {
    unit,
    systemctl,
    environment,

    run: (args, timeoutMs, signal) =>
      host.run('systemctl', [...options, '--no-ask-password', ...args], { timeoutMs, signal, environment }),

    async look() {
      const outcome = await manager.run(['show', `--property=${propertyList}`, '--', unit], lookMs);
      if (succeeded(outcome)) return parseUnit(outcome.stdout);
      throw manager.failure(
        `${systemctl} show ${unit} ${describeOutcome(outcome, lookMs)}; expected the properties of the unit; ` +
          'check that systemd runs on this machine and that its bus can be reached',
      );
    },

    async loadedUnit() {
      const seen = await manager.look();
      if (seen.loadState === 'loaded') return seen;
      throw manager.failure(
        `${unit} has LoadState=${seen.loadState}; expected a loaded unit; look at \`${systemctl} status ${unit}\``,
        seen,
      );
    },

    failure: (message, seen) =>
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
      }),

    journalHint: (seen) =>
      `\`journalctl${isUser ? ' --user' : ''} _SYSTEMD_INVOCATION_ID=${seen.invocation ?? '...'}\``,
  };
  return manager;
}

function unitName(name: string): string {
  const unit = /\.[a-z]+$/.test(name) ? name : `${name}.service`;
  if (/^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.service$/.test(unit)) return unit;
  throw new RotationError(
    failureTypes.badRequest,
    `found the unit name ${JSON.stringify(name)}; expected one service unit, as in litellm.service; correct the configuration`,
  );
}

// systemctl's own words for it, from polkit and from the bus; its exit code is 1 or 4, depending on the version.
export function refusal({ stderr }: Outcome): string {
  return /Access denied|[Aa]uthentication (is )?required|Permission denied|not permitted/.test(stderr)
    ? ' (we are not allowed to: run the worker as root, or add a polkit rule)'
    : '';
}

export function managerUnreachable({ unit, systemctl }: SystemdManager, error: unknown): Finding {
  return {
    severity: 'blocking',
    code: 'service-manager-unreachable',
    where: unit,
    found: error instanceof RotationError ? error.message : 'that systemctl does not answer',
    expected: 'a systemd that answers',
    next: `run \`${systemctl} status\` as the user of the worker`,
  };
}
