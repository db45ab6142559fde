import { connect } from 'node:net';
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

/** Whether the port accepts a connection; a refusal or no answer in time is no. */
export function isListening({ protocol, hostname, port }: URL, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
    });
    const done = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.setTimeout(timeoutMs, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}
