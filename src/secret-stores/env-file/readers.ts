import { readCompose } from './compose-reader.ts';
import { readDocker } from './docker-reader.ts';
import { readDotenv } from './dotenv-reader.ts';
import type { EnvFileReading } from './reading.ts';
import { readShell } from './shell-reader.ts';
import { readSystemd } from './systemd-reader.ts';

/**
 * Who reads an env file: systemd's `EnvironmentFile=`; a shell under `set -a; . file`; python-dotenv; Compose's
 * `env_file:`; docker's `--env-file`. The same line means different things to them.
 */
export type ReaderName = 'systemd' | 'shell' | 'dotenv' | 'docker-compose' | 'docker';

const readers: Readonly<Record<ReaderName, (text: string) => EnvFileReading>> = {
  systemd: readSystemd,
  shell: readShell,
  dotenv: readDotenv,
  'docker-compose': readCompose,
  docker: readDocker,
};

/** Reads a text (latin1, one character a byte) the way the named reader does. Never throws. */
export function readEnvFile(reader: ReaderName, text: string): EnvFileReading {
  return readers[reader](text);
}
