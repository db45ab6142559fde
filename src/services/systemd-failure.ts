import type { Unit } from './systemd-unit.ts';

/** Exit codes that the service manager gives itself, before the program runs: systemd.exec(5), "Process Exit Codes". */
const managerExitCodes: Readonly<Record<number, string>> = {
  200: 'its WorkingDirectory= cannot be entered (200/CHDIR)',
  203: 'its ExecStart= program cannot be run (203/EXEC): not found, not executable, or its interpreter is missing',
  208: 'its standard input cannot be set up (208/STDIN)',
  209: 'its standard output cannot be set up (209/STDOUT)',
  216: 'its Group= does not exist (216/GROUP)',
  217: 'its User= does not exist (217/USER)',
  226: 'its mount namespace cannot be set up (226/NAMESPACE)',
  243: 'its credentials cannot be set up (243/CREDENTIALS)',
};

/** What a unit's Result= and exit status say, in a clause: systemd.service(5) and org.freedesktop.systemd1(5). */
export function describeResult(unit: Unit): string {
  switch (unit.result) {
    case 'resources':
      return (
        'systemd could not load what the unit names (Result=resources); ' +
        'most often an EnvironmentFile= that does not exist, or that holds a NUL or non-UTF-8 byte'
      );
    case 'exit-code':
      if (unit.exitStatus === 0)
        return 'a command before or after its main process failed (Result=exit-code)';
      return (
        managerExitCodes[unit.exitStatus] ??
        `its main process exited with ${unit.exitStatus}${ownMeaning(unit)}`
      );
    case 'signal':
      return `its main process was killed by signal ${unit.exitStatus}`;
    case 'core-dump':
      return `its main process dumped core (signal ${unit.exitStatus})`;
    case 'timeout':
      return 'it did not get ready, or did not end, within its timeout (Result=timeout)';
    case 'start-limit-hit':
      return 'it was started too often in a short time (Result=start-limit-hit)';
    case 'oom-kill':
      return 'a process of it was killed for want of memory (Result=oom-kill)';
    case 'protocol':
      return 'it ended without the notification or the pid file that its Type= asks for (Result=protocol)';
    case 'success':
      return 'its main process ended with success';
    default:
      return `Result=${unit.result}`;
  }
}

// LiteLLM ends with 3 when it refuses its own configuration or database (uvicorn's STARTUP_FAILURE; 1.104 and later
// for a weak or missing master key).
function ownMeaning(unit: Unit): string {
  return unit.exitStatus === 3 ? ', which is how LiteLLM refuses to boot' : '';
}
