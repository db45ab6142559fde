import type { InBoxOptions, SystemdBox } from '../../lab/systemd-box.ts';
import { thisHost } from '../../src/services/host.ts';
import type { Host } from '../../src/services/host.ts';

/**
 * A box as the adapters see a machine. The same programs run through the same `run`, entered into the box's namespaces;
 * files are read with `cat` in there, because a pid outside means another process.
 */
export function boxHost(box: SystemdBox, options: InBoxOptions = {}): Host {
  const host: Host = {
    run(file, args, runOptions) {
      const [program = '', ...rest] = box.command(file, args, options);
      return thisHost.run(program, rest, runOptions);
    },
    readFile: (path) => readFileIn(host, path),
  };
  return host;
}

/** Reads a file through a program on the host, and fails as node's `readFile` does. */
export async function readFileIn(host: Host, path: string): Promise<Buffer> {
  const { code, stdout, stderr } = await host.run('cat', ['--', path], { timeoutMs: 10_000 });
  if (code === 0) return Buffer.from(stdout);
  const denied = /Permission denied/.test(stderr);
  throw Object.assign(new Error(`cannot read ${path}`), { code: denied ? 'EACCES' : 'ENOENT' });
}
