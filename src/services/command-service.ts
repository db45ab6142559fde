import { basename } from 'node:path';
import { RotationError, failureTypes } from '../rotation/failure.ts';
import { isBlocking } from '../rotation/finding.ts';
import { commandFindings, statusFindings } from './command-findings.ts';
import type { CommandLook, CommandServiceOptions } from './command-options.ts';
import { describeOutcome, run, succeeded, thisHost } from './host.ts';
import type { Outcome } from './host.ts';
import { sizeOf, tail } from './log-file.ts';
import { strangersOn } from './listeners.ts';
import type { Service, ServiceState } from './port.ts';
import { givenValues } from './process-environment.ts';
import { environmentOf, isAlive, processWithPid, withDescendants } from './process-table.ts';
import type { ProcessId } from './process-table.ts';
import { lookUntil, pause, settleMs } from './waiting.ts';

const statusMs = 15_000;
// From the end of the start program to the first `running`.
const appearMs = 10_000;

/**
 * LiteLLM under three programs of the user's own. What they print goes nowhere, as it may hold secrets: an error names
 * the program and how it ended. Without a pid from `status`, a restart cannot be proved and `stopped` rests on its word.
 */
export function createCommandService(options: CommandServiceOptions): Service {
  const { cwd, environment } = options;
  for (const command of [options.start, options.stop, options.status]) program(command);
  const description = `service ${options.name ?? basename(program(options.start))}`;
  // Where the log ended when we started an instance. Its lines carry no instance, so for any other start there is no log.
  const logStarts = new Map<string, number>();

  const act = (command: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<Outcome> =>
    run(program(command), command.slice(1), { timeoutMs, signal, cwd, environment, output: 'ignore' });

  const look = async (): Promise<CommandLook> => {
    const outcome = await run(program(options.status), options.status.slice(1), {
      timeoutMs: statusMs,
      cwd,
      environment,
    });
    const pid = pidIn(outcome.stdout);
    const process = pid === undefined ? undefined : await processWithPid(pid);
    const detail = `${basename(program(options.status))} ${describeOutcome(outcome, statusMs)}`;
    if (succeeded(outcome)) {
      if (pid === undefined) return { state: 'running', process, detail: `running (${detail})` };
      // A pid file outlives its process: then the status program is not to be believed.
      if (process === undefined)
        return { state: 'failed', process, detail: `${detail} and named pid ${pid}, which does not run` };
      return { state: 'running', process, detail: `running, pid ${pid}` };
    }
    const stopped = outcome.ended === 'exited' && outcome.code === 3 && process === undefined;
    return stopped ? { state: 'stopped', process, detail: 'stopped' } : { state: 'failed', process, detail };
  };

  const failure = (message: string, process?: ProcessId): RotationError => {
    const hint = options.log === undefined ? '' : `; its log is ${options.log}`;
    return new RotationError(failureTypes.serviceFailed, `${message}${hint}`, {
      ...(process && { facts: { instance: instanceOf(process) } }),
    });
  };

  const variables = options.variables ?? ['LITELLM_MASTER_KEY', 'LITELLM_SALT_KEY'];

  return {
    description,

    async inspect() {
      const findings = await commandFindings(options, variables);
      if (findings.some(isBlocking)) {
        return { findings, state: { state: 'failed', instance: undefined, detail: 'not looked at' } };
      }
      const seen = await look();
      return { findings: [...findings, ...statusFindings(options, seen)], state: stateOf(seen) };
    },

    async observe() {
      return stateOf(await look());
    },

    async stop(fence, signal) {
      const timeoutMs = options.stopTimeoutMs ?? 60_000;
      const before = await look();
      if (before.state === 'stopped') return stateOf(before);
      const family = before.process === undefined ? [] : await withDescendants(before.process);
      await fence.assert();
      const started = performance.now();
      const outcome = await act(options.stop, timeoutMs, signal);
      if (!succeeded(outcome)) {
        throw failure(
          `${basename(program(options.stop))} ${describeOutcome(outcome, timeoutMs)} and the service is ${(await look()).detail}; ` +
            'expected exit 0 and a stopped service; run it by hand to see what it says',
          before.process,
        );
      }
      const after = await lookUntil(
        async () => ({ seen: await look(), left: await alive(family) }),
        ({ seen, left }) => seen.state === 'stopped' && left.length === 0,
        { timeoutMs: Math.max(0, timeoutMs - (performance.now() - started)), signal },
      );
      if (after.left.length > 0) {
        throw failure(
          `${after.left.length} processes of the service still run (pid ${after.left.map(({ pid }) => pid).join(', ')}) ` +
            'after its stop; expected none; make the stop program wait for their end',
          before.process,
        );
      }
      if (after.seen.state !== 'stopped') {
        throw failure(
          `after its stop, the service is ${after.seen.detail}; expected ${basename(program(options.status))} to exit with 3; ` +
            'correct the stop or the status program',
          before.process,
        );
      }
      return stateOf(after.seen);
    },

    async start(fence, signal) {
      const timeoutMs = options.startTimeoutMs ?? 60_000;
      const before = await look();
      let logStart: number | undefined;
      if (before.state !== 'running') {
        await fence.assert();
        logStart = options.log === undefined ? undefined : await sizeOf(options.log);
        const outcome = await act(options.start, timeoutMs, signal);
        if (!succeeded(outcome)) {
          throw failure(
            `${basename(program(options.start))} ${describeOutcome(outcome, timeoutMs)}; expected exit 0 and a running service; ` +
              'run it by hand to see what it says',
          );
        }
      }
      const up = await lookUntil(look, ({ state }) => state === 'running', {
        timeoutMs: Math.min(timeoutMs, appearMs),
        signal,
      });
      if (up.state !== 'running') {
        throw failure(
          `after its start, the service is ${up.detail}; expected ${basename(program(options.status))} to exit with 0`,
        );
      }
      if (up.process !== undefined && logStart !== undefined) logStarts.set(instanceOf(up.process), logStart);
      await pause(settleMs, signal);
      const seen = await look();
      if (seen.state !== 'running' || seen.process?.pid !== up.process?.pid) {
        throw failure(
          `the service started and fell over: it was ${up.detail}, and a second later ${seen.detail}; expected it to stay up`,
          up.process,
        );
      }
      return stateOf(seen);
    },

    async environment(names) {
      const { process } = await look();
      const family = process === undefined ? [] : await withDescendants(process);
      const environments = await Promise.all(family.map(environmentOf));
      return givenValues(
        names,
        environments.filter((found) => found !== undefined),
      );
    },

    async strangers(port) {
      const { process } = await look();
      const family = process === undefined ? [] : await withDescendants(process);
      const pids = family.map(({ pid }) => pid);
      return await strangersOn(thisHost, port, pids);
    },

    async log(instance, lines) {
      const start = logStarts.get(instance);
      return options.log === undefined || start === undefined
        ? undefined
        : await tail(options.log, start, lines);
    },
  };
}

function program(command: readonly string[]): string {
  const [file] = command;
  if (file !== undefined && file !== '') return file;
  throw new RotationError(
    failureTypes.refused,
    'found an empty command; expected start, stop and status as arrays of a program and its arguments; correct the configuration',
  );
}

/** `running 4711`, `pid 4711`, `(pid: 4711)`, `PID=4711` in the first line. */
export function pidIn(output: string): number | undefined {
  const [line = ''] = output.split('\n', 1);
  const [, labelled, bare] = /\bpid[ =:]*(\d+)|^running (\d+)/i.exec(line) ?? [];
  const pid = Number(labelled ?? bare ?? 0);
  return pid > 1 ? pid : undefined;
}

function instanceOf({ pid, startTicks }: ProcessId): string {
  return `${pid}@${startTicks}`;
}

function stateOf({ state, detail, process }: CommandLook): ServiceState {
  return { state, detail, instance: process === undefined ? undefined : instanceOf(process) };
}

async function alive(family: readonly ProcessId[]): Promise<readonly ProcessId[]> {
  const still = await Promise.all(family.map(isAlive));
  return family.filter((_, index) => still[index]);
}
