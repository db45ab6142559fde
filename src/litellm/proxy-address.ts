import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { failureTypes, RotationError } from '../rotation/failure.ts';

/** The address of a replica; throws `Refused` for one that is none, or that holds a password or a query. */
export function parseAddress(url: string): URL {
  const address = URL.parse(url);
  const sound =
    address !== null &&
    ['http:', 'https:'].includes(address.protocol) &&
    address.username + address.password + address.search + address.hash === '';
  if (sound) return address;
  throw new RotationError(
    failureTypes.refused,
    'found a proxy URL that is none, expected http://host:port or https://host:port without user, password or query; correct it in the configuration',
  );
}

/** Where a replica listens, as far as its name tells. */
export interface Port {
  /** Notes the addresses that its name leads to now: for `isListening`, when the name leads nowhere any more. */
  locate: () => Promise<void>;
  /** Whether any of its addresses accepts a connection; a refusal or no answer in time is no. */
  isListening: () => Promise<boolean>;
}

/** How long a name is waited for whose addresses were noted. */
const nameServersMs = 1_000;

/**
 * While anything runs under a name of Docker's, the engine itself answers for it at once, wherever it has moved to; when
 * nothing does, it asks name servers outside (Docker's manual, "Networking overview", DNS services). Where none answers,
 * getaddrinfo takes ten seconds to say so: two attempts of 5 s (resolv.conf(5)). So a name that is not answered soon leads
 * nowhere new, and where it led before is tried. Where nothing was noted, the resolver is waited for.
 */
export function openPort({ protocol, hostname, port }: URL, timeoutMs: number): Port {
  const host = hostname.replace(/^\[|\]$/g, '');
  const number = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
  let noted: readonly string[] = [];
  return {
    async locate() {
      const found = await within(nameServersMs, ask(host, nameServersMs));
      if (found.length > 0) noted = found;
    },
    async isListening() {
      const found = await ask(host, noted.length > 0 ? nameServersMs : timeoutMs);
      const addresses = [...new Set([...found, ...noted])];
      const answers = await Promise.all(addresses.map((address) => accepts(address, number, timeoutMs)));
      return answers.includes(true);
    },
  };
}

let resolverIsFree: Promise<void> = Promise.resolve();

/**
 * The addresses of a name, none after `ms`. One question at a time, and the next begins, with its time, when the resolver is
 * through with the last: each occupies one of the two threads of Node's pool that do names, and a third would not be asked.
 */
async function ask(host: string, ms: number): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const turn = resolverIsFree;
  const { promise, resolve } = Promise.withResolvers<void>();
  resolverIsFree = promise;
  await turn;
  const answer = lookup(host, { all: true }).then(
    (found) => found.map(({ address }) => address),
    () => [],
  );
  void answer.then(() => resolve());
  return within(ms, answer);
}

async function within(ms: number, answer: Promise<readonly string[]>): Promise<readonly string[]> {
  const answered = new AbortController();
  const nothing = sleep(ms, [], { signal: answered.signal }).catch(() => []);
  return Promise.race([answer, nothing]).finally(() => answered.abort());
}

function accepts(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (accepted: boolean) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.setTimeout(timeoutMs, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
