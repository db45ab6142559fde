import { createFingerprinter } from '../../rotation/fingerprint.ts';
import type { Fingerprint } from '../../rotation/keys.ts';
import { Secret } from '../../rotation/secret.ts';
import type { Transition } from '../port.ts';
import type { Connections } from '../postgres/connection.ts';
import { readFingerprintKey } from './journal.ts';

/** A transition whose keys, with their labels and in their order, have a name for the journal. */
export interface NamedTransition extends Transition {
  /** One for all keys: each would cost a tenth of a second, behind the fence. */
  readonly keysFingerprint: Fingerprint;
}

/** Names the keys of transitions as all keys are named. Wants the journal. */
export function createTransitionNaming(
  connections: Connections,
): (transition: Transition) => Promise<NamedTransition> {
  let made: Promise<ReturnType<typeof createFingerprinter>> | undefined;
  return async (transition) => {
    made ??= connections
      .session("reading the fingerprints' key", readFingerprintKey)
      .then(createFingerprinter);
    made.catch(() => (made = undefined));
    const keys = [...transition.known, transition.to].map(({ label, key }) => [label, key.reveal()]);
    const fingerprint = await made;
    return { ...transition, keysFingerprint: await fingerprint(new Secret(JSON.stringify(keys))) };
  };
}
