import { type ResultPromise, execa } from 'execa';
import { existsSync, readFileSync } from 'node:fs';
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onPath, startChild, untilReady } from './child.ts';
import { untilStopped } from './cleanup.ts';

const script = fileURLToPath(new URL('systemd-box', import.meta.url));

export interface SystemdBoxOptions {
  /** The text of each unit in /etc/systemd/system, by file name. A path with a directory (`x.service.d/a.conf`) is a drop-in. */
  readonly units?: Readonly<Record<string, string>>;
  /** Units of the ordinary user `rotate-lab`, who then has a user manager (`systemctl --user`). */
  readonly userUnits?: Readonly<Record<string, string>>;
  /** An own loopback interface. @default false: Postgres and Temporal of the machine can be reached */
  readonly net?: boolean;
  /** Directories that are empty and its own inside the box. /run and /etc/systemd/system always are. */
  readonly tmpfs?: readonly string[];
}

export interface InBoxOptions {
  /** As the user `rotate-lab`, with HOME and XDG_RUNTIME_DIR set. */
  readonly asUser?: boolean;
  /** In place of this process's environment. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** A real systemd with journald, of its own. It shares the machine's files and, without `net`, its network. */
export interface SystemdBox {
  readonly directory: string;
  /** The argument vector that runs a command in the box, for any way to start a process. A SIGTERM to it reaches the command. */
  command(command: string, args?: readonly string[], options?: InBoxOptions): string[];
  /** Starts a process in the box, say a worker that calls `systemctl`; throws for a status other than 0. */
  exec(
    command: string,
    args?: readonly string[],
    options?: InBoxOptions,
  ): ResultPromise<{ env: NodeJS.ProcessEnv; extendEnv: false }>;
  /** Runs a short command in the box, whatever its status. */
  run(
    command: string,
    args?: readonly string[],
    options?: InBoxOptions,
  ): Promise<{ exitCode: number | undefined; stdout: string; stderr: string }>;
  stop(): Promise<void>;
}

/** Why no box can be started here, or undefined when one can. */
export function canRunSystemd(): string | undefined {
  if (process.platform !== 'linux') return 'systemd needs Linux';
  if (process.getuid?.() !== 0) return 'a box of systemd needs root';
  if (!['/lib/systemd/systemd', '/usr/lib/systemd/systemd'].some((file) => existsSync(file)))
    return 'systemd is not installed';
  const missing = ['systemctl', 'unshare', 'nsenter', 'setpriv'].find((tool) => onPath(tool) === undefined);
  if (missing !== undefined) return `${missing} is not installed`;
  if (!/ cgroup2 /.test(readFileSync('/proc/mounts', 'utf8'))) return 'no cgroup2 is mounted';
  // CAP_SYS_ADMIN is bit 21 (capabilities(7)); a container has usually lost it
  const effective = BigInt(
    `0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
  );
  return (effective & (1n << 21n)) === 0n ? 'root has no CAP_SYS_ADMIN here' : undefined;
}

/** Starts a box in about 0.3 s. It ends with this process, however this process ends. */
export async function startSystemdBox(options: SystemdBoxOptions = {}): Promise<SystemdBox> {
  const home = await mkdtemp(join(tmpdir(), 'litellm-rotate-systemd-'));
  const [directory, ready, log] = [join(home, 'box'), join(home, 'ready'), join(home, 'log')];
  const args = ['run', '--dir', directory, ...(options.net === true ? ['--net'] : [])];
  for (const path of options.tmpfs ?? []) args.push('--tmpfs', path);
  if (options.units !== undefined) args.push('--units', await writeUnits(join(home, 'units'), options.units));
  if (options.userUnits !== undefined)
    args.push('--user-units', await writeUnits(join(home, 'user-units'), options.userUnits));
  const inside = ['sh', '-c', '>"$1" && exec sleep infinity', 'sh', ready];
  const child = await startChild(script, [...args, '--', ...inside], {
    env: process.env,
    log,
    deathSignal: 'TERM',
  });
  const stop = untilStopped(
    async () => {
      await child.stop('SIGTERM', 15_000);
      await rm(home, { recursive: true, force: true });
    },
    () => child.abandon('SIGTERM'), // the script takes the box down; a SIGKILL would leave its cgroup
  );
  try {
    await untilReady('systemd', child, log, 20_000, () => access(ready).then(() => true));
  } catch (error) {
    await stop();
    throw error;
  }
  const command: SystemdBox['command'] = (file, argv = [], { asUser = false } = {}) => [
    script,
    'exec',
    ...(asUser ? ['--user'] : []),
    directory,
    '--',
    file,
    ...argv,
  ];
  const exec: SystemdBox['exec'] = (file, argv, inBox = {}) => {
    const [first = script, ...rest] = command(file, argv, inBox);
    const cwd = inBox.cwd === undefined ? {} : { cwd: inBox.cwd };
    return execa(first, rest, { ...cwd, env: inBox.env ?? process.env, extendEnv: false });
  };
  return {
    directory,
    command,
    exec,
    async run(file, argv, inBox = {}) {
      const [first = script, ...rest] = command(file, argv, inBox);
      const cwd = inBox.cwd === undefined ? {} : { cwd: inBox.cwd };
      const result = await execa(first, rest, {
        ...cwd,
        env: inBox.env ?? process.env,
        extendEnv: false,
        reject: false,
      });
      return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
    },
    stop,
  };
}

async function writeUnits(directory: string, units: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(units)) {
    const file = join(directory, name);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, text);
  }
  await mkdir(directory, { recursive: true });
  return directory;
}
