import type { Finding } from '../rotation/finding.ts';
import { envFileFindings } from './env-file-findings.ts';
import type { Unit } from './systemd-unit.ts';

/** What preflight needs to know about the unit besides its properties. */
export interface UnitContext {
  readonly unit: string;
  /** `systemctl`, or `systemctl --user`: for the commands in `next`. */
  readonly systemctl: string;
  /** Whether the service manager obeys us without asking (root, or our own user manager). */
  readonly obeyed: boolean;
  /** The files that the rotation writes, in the order in which they must be read. */
  readonly envFiles: readonly string[];
  /** The names of the variables that hold the keys. */
  readonly variables: readonly string[];
  /** Resolves symbolic links. */
  readonly realPath: (path: string) => string;
}

/** What stands in the way of a rotation through this unit. */
export function unitFindings(unit: Unit, context: UnitContext): Finding[] {
  const loading = loadFinding(unit, context);
  if (loading !== undefined) return [loading];
  return [
    ...driveFindings(unit, context),
    ...envFileFindings({
      where: context.unit,
      setting: 'EnvironmentFile=',
      // A relative path is not here: systemd passes over it.
      read: unit.environmentFiles.map(({ path, ignoreErrors }) => ({ path, optional: ignoreErrors })),
      written: context.envFiles,
      realPath: context.realPath,
      add: (path) =>
        `\`${context.systemctl} edit ${context.unit}\`: \`EnvironmentFile=${path}\` under [Service], then \`${context.systemctl} daemon-reload\``,
      require: `\`${context.systemctl} edit --full ${context.unit}\`: take the \`-\` in front of the path away`,
    }),
    ...environmentFindings(unit, context),
    ...stopFindings(unit, context),
    ...startFindings(unit, context),
  ];
}

function loadFinding({ loadState }: Unit, { unit, systemctl }: UnitContext): Finding | undefined {
  if (loadState === 'loaded') return undefined;
  const next: Readonly<Record<string, string>> = {
    'not-found': `check the name with \`${systemctl} list-units --all\`, and the scope (system or user)`,
    masked: `\`${systemctl} unmask ${unit}\``,
    'bad-setting': `\`systemd-analyze verify ${unit}\`, mend the unit file, then \`${systemctl} daemon-reload\``,
  };
  return {
    severity: 'blocking',
    code: `unit-${loadState || 'unknown'}`,
    where: unit,
    found: `LoadState=${loadState}`,
    expected: 'a unit that is loaded',
    next: next[loadState] ?? `look at \`${systemctl} status ${unit}\``,
  };
}

function driveFindings(
  { needsDaemonReload, refusesManual, type }: Unit,
  { unit, systemctl, obeyed }: UnitContext,
): Finding[] {
  const findings: Finding[] = [];
  if (!obeyed) {
    findings.push({
      severity: 'warning',
      code: 'service-manager-may-refuse',
      where: unit,
      found:
        'that we are not root, so stop and start need a polkit rule, and the processes of another user cannot be read',
      expected:
        'root, or a rule for org.freedesktop.systemd1.manage-units with this unit and the verbs start, stop, reset-failed',
      next: 'add the rule in /etc/polkit-1/rules.d (action.lookup("unit"), action.lookup("verb"), subject.user), or run the worker as root',
    });
  }
  if (needsDaemonReload) {
    findings.push({
      severity: 'blocking',
      code: 'daemon-reload-needed',
      where: unit,
      found: 'that the unit file has changed on disk since systemd read it',
      expected: 'that a start uses the definition that is on disk',
      next: `\`${systemctl} daemon-reload\``,
    });
  }
  if (refusesManual || type === 'oneshot') {
    findings.push({
      severity: 'blocking',
      code: 'unit-not-restartable',
      where: unit,
      found: refusesManual
        ? 'RefuseManualStart= or RefuseManualStop='
        : 'Type=oneshot, which has no running state',
      expected: 'a service that can be stopped and started by hand, and that stays running',
      next: `\`${systemctl} edit ${unit}\`, or name the unit that runs LiteLLM itself`,
    });
  }
  return findings;
}

function environmentFindings({ environmentNames, unsetNames }: Unit, context: UnitContext): Finding[] {
  const { unit, systemctl, variables } = context;
  return variables.flatMap((name): Finding[] => {
    if (unsetNames.includes(name)) {
      return [
        {
          severity: 'blocking',
          code: 'key-variable-unset',
          where: unit,
          found: `UnsetEnvironment= with ${name}, which beats every file`,
          expected: `that ${name} reaches the process`,
          next: `take it away with \`${systemctl} edit --full ${unit}\``,
        },
      ];
    }
    if (environmentNames.includes(name)) {
      return [
        {
          severity: 'warning',
          code: 'key-in-unit-file',
          where: unit,
          found: `Environment= with ${name}, which every user of the machine can read with \`systemctl show\``,
          expected: 'the key in an EnvironmentFile= only',
          next: `take it away with \`${systemctl} edit --full ${unit}\`; it will not be rotated there`,
        },
      ];
    }
    return [];
  });
}

function stopFindings(
  { triggers, dependants, killMode, stopTimeoutMs }: Unit,
  { unit, systemctl }: UnitContext,
): Finding[] {
  const findings: Finding[] = [];
  if (triggers.length > 0) {
    findings.push({
      severity: 'warning',
      code: 'unit-triggered',
      where: unit,
      found: `that ${triggers.join(', ')} can start it again while it must stay stopped`,
      expected: 'a unit that nothing else starts',
      next: `\`${systemctl} stop ${triggers.join(' ')}\` for the time of the rotation`,
    });
  }
  if (dependants.length > 0) {
    findings.push({
      severity: 'warning',
      code: 'unit-has-dependants',
      where: unit,
      found: `that ${dependants.join(', ')} is stopped together with it`,
      expected: 'that the stop of LiteLLM stops nothing else',
      next: `be ready to \`${systemctl} start ${dependants.join(' ')}\` afterwards, or use Wants= instead of Requires=`,
    });
  }
  if (['process', 'none'].includes(killMode)) {
    findings.push({
      severity: 'warning',
      code: 'unit-leaves-processes',
      where: unit,
      found: `KillMode=${killMode}, with which children outlive a stop`,
      expected: 'KillMode=control-group or mixed',
      next: `\`${systemctl} edit ${unit}\`; otherwise the stop fails when a child is left`,
    });
  }
  if (stopTimeoutMs === Infinity) {
    findings.push({
      severity: 'warning',
      code: 'unit-stop-unbounded',
      where: unit,
      found: 'TimeoutStopSec=infinity',
      expected: 'a bound, after which systemd kills what does not end',
      next: `\`${systemctl} edit ${unit}\`: \`TimeoutStopSec=60\` under [Service]`,
    });
  }
  return findings;
}

function startFindings({ type, startLimit }: Unit, { unit, systemctl }: UnitContext): Finding[] {
  const findings: Finding[] = [];
  // A rotation starts the service once, and its rollback once more.
  if (startLimit.burst > 0 && startLimit.burst < 3 && startLimit.intervalMs > 0) {
    findings.push({
      severity: 'warning',
      code: 'unit-start-limit-low',
      where: unit,
      found: `StartLimitBurst=${startLimit.burst} in ${startLimit.intervalMs / 1000} s`,
      expected: 'room for a start, a rollback and a retry; the limit is reset before each of our starts',
      next: `\`${systemctl} edit ${unit}\`: \`StartLimitBurst=5\` under [Unit]`,
    });
  }
  if (type === 'simple') {
    findings.push({
      severity: 'note',
      code: 'unit-type-simple',
      where: unit,
      found: 'Type=simple: systemd reports a start as done before the program runs',
      expected: 'Type=exec or notify; with simple, only the answers of the proxy prove the start',
      next: 'nothing; the rotation watches the unit and asks the proxy',
    });
  }
  return findings;
}
