/** The properties of a unit that we read; `systemctl show` prints them in its own order. */
const propertyNames = [
  'ActiveEnterTimestamp',
  'ActiveState',
  'BoundBy',
  'ControlGroup',
  'Environment',
  'EnvironmentFiles',
  'ExecMainCode',
  'ExecMainStatus',
  'InvocationID',
  'Job',
  'KillMode',
  'LoadState',
  'MainPID',
  'NeedDaemonReload',
  'NRestarts',
  'RefuseManualStart',
  'RefuseManualStop',
  'RequiredBy',
  'Result',
  'StartLimitBurst',
  'StartLimitIntervalUSec',
  'SubState',
  'TimeoutStartUSec',
  'TimeoutStopUSec',
  'TriggeredBy',
  'Type',
  'UnsetEnvironment',
  'UpheldBy',
] as const;

export const propertyList = propertyNames.join(',');

export interface EnvironmentFile {
  readonly path: string;
  /** Written with a leading `-`: a missing file is passed over without a word. */
  readonly ignoreErrors: boolean;
}

/** One look at a unit: see org.freedesktop.systemd1(5) for the properties. */
export interface Unit {
  readonly loadState: string;
  readonly activeState: string;
  readonly subState: string;
  readonly result: string;
  readonly type: string;
  readonly mainPid: number;
  /** Changes at every start, also an automatic one; stays readable after the end of the service. */
  readonly invocation: string | undefined;
  readonly restarts: number;
  /** CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 while it runs or when nothing was started. */
  readonly exitCode: number;
  /** The exit status, or the number of the signal. */
  readonly exitStatus: number;
  /** Below the cgroup mount, as in `/system.slice/litellm.service`; kept by systemd for as long as a process is in it. */
  readonly controlGroup: string | undefined;
  readonly jobQueued: boolean;
  readonly since: string | undefined;
  readonly needsDaemonReload: boolean;
  readonly refusesManual: boolean;
  readonly killMode: string;
  /** Milliseconds; Infinity when switched off. */
  readonly stopTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly startLimit: { readonly burst: number; readonly intervalMs: number };
  /** In the order in which systemd reads them: the last one wins. A relative path is dropped by systemd, so it is not here. */
  readonly environmentFiles: readonly EnvironmentFile[];
  /** Names only: the values may be secrets. */
  readonly environmentNames: readonly string[];
  readonly unsetNames: readonly string[];
  /** Units that start this one again by themselves (sockets, timers, Upholds=). */
  readonly triggers: readonly string[];
  /** Units that are stopped with this one, and not started with it. */
  readonly dependants: readonly string[];
}

/** Reads what `systemctl show --property=...` printed: `Name=value` lines, some names more than once. */
export function parseUnit(shown: string): Unit {
  const properties = new Map<string, string[]>();
  for (const line of shown.split('\n')) {
    const equals = line.indexOf('=');
    if (equals <= 0) continue;
    const name = line.slice(0, equals);
    properties.set(name, [...(properties.get(name) ?? []), line.slice(equals + 1)]);
  }
  const value = (name: (typeof propertyNames)[number]): string => properties.get(name)?.at(-1) ?? '';
  const optional = (name: (typeof propertyNames)[number]): string | undefined => value(name) || undefined;
  const words = (name: (typeof propertyNames)[number]): string[] => value(name).split(' ').filter(Boolean);
  return {
    loadState: value('LoadState'),
    activeState: value('ActiveState'),
    subState: value('SubState'),
    result: value('Result'),
    type: value('Type'),
    mainPid: Number(value('MainPID')),
    invocation: optional('InvocationID'),
    restarts: Number(value('NRestarts')),
    exitCode: Number(value('ExecMainCode')),
    exitStatus: Number(value('ExecMainStatus')),
    controlGroup: optional('ControlGroup'),
    jobQueued: !['', '0'].includes(value('Job')),
    since: parseTimestamp(value('ActiveEnterTimestamp')),
    needsDaemonReload: value('NeedDaemonReload') === 'yes',
    refusesManual: value('RefuseManualStart') === 'yes' || value('RefuseManualStop') === 'yes',
    killMode: value('KillMode'),
    stopTimeoutMs: parseTimeSpan(value('TimeoutStopUSec')),
    startTimeoutMs: parseTimeSpan(value('TimeoutStartUSec')),
    startLimit: {
      burst: Number(value('StartLimitBurst')),
      intervalMs: parseTimeSpan(value('StartLimitIntervalUSec')),
    },
    environmentFiles: (properties.get('EnvironmentFiles') ?? []).flatMap(parseEnvironmentFile),
    environmentNames: assignedNames(value('Environment')),
    unsetNames: assignedNames(value('UnsetEnvironment')),
    triggers: [...words('TriggeredBy'), ...words('UpheldBy')],
    dependants: [...words('RequiredBy'), ...words('BoundBy')].filter((unit) => !unit.endsWith('.target')),
  };
}

/** systemd calls it up. */
export function isRunning(unit: Unit): boolean {
  return unit.activeState === 'active' && unit.subState === 'running' && unit.mainPid !== 0;
}

/** Nothing of it runs as far as systemd knows, and systemd will not start it by itself. */
export function isDown(unit: Unit): boolean {
  return ['inactive', 'failed'].includes(unit.activeState) && unit.mainPid === 0 && !unit.jobQueued;
}

/** It has ended, whether or not systemd is about to try again. */
export function hasEnded(unit: Unit): boolean {
  return (
    isDown(unit) ||
    unit.subState.startsWith('auto-restart') ||
    (unit.activeState === 'active' && unit.mainPid === 0)
  );
}

const unitMs: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  month: 2_629_800_000,
  y: 31_557_600_000,
};

/** A systemd time span, as in `1min 30s` (systemd.time(7)), in milliseconds. */
export function parseTimeSpan(span: string): number {
  if (span === 'infinity') return Infinity;
  return Array.from(span.matchAll(/([\d.]+)\s*([a-z]+)/g)).reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * (unitMs[unit ?? ''] ?? 0),
    0,
  );
}

// `Tue 2026-11-24 03:12:00 UTC`: systemctl prints times in its own time zone, so it is run with TZ=UTC.
function parseTimestamp(stamp: string): string | undefined {
  const [, day, time] = /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)/.exec(stamp) ?? [];
  return day === undefined ? undefined : `${day}T${time}Z`;
}

function parseEnvironmentFile(line: string): EnvironmentFile[] {
  const [, path, ignore] = /^(.*) \(ignore_errors=(yes|no)\)$/.exec(line) ?? [];
  return path === undefined ? [] : [{ path, ignoreErrors: ignore === 'yes' }];
}

/** The names in a list such as `A=1 "B=x y" C`. Text inside a quoted value can look like a name; we only warn about it. */
function assignedNames(list: string): string[] {
  return Array.from(
    list.matchAll(/(?:^| )\$?["']?([A-Za-z_][A-Za-z0-9_]*)(?=[=\s"']|$)/g),
    ([, name]) => name ?? '',
  );
}
