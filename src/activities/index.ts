import { createCanaryActivities } from './canary.ts';
import { createKeyActivities } from './keys.ts';
import { createLeaseActivities } from './lease.ts';
import type { Ports } from './ports.ts';
import { createPreflightActivities } from './preflight.ts';
import { createReencryptionActivities } from './reencryption.ts';
import { createRehearsalActivities } from './rehearsal.ts';
import { createServiceActivities } from './service.ts';
import { createValueActivities } from './values.ts';
import { createVerificationActivities } from './verification.ts';

/** Every activity of the worker, over its ports. */
export function createActivities(ports: Ports) {
  return {
    ...createLeaseActivities(ports),
    ...createPreflightActivities(ports),
    ...createKeyActivities(ports),
    ...createCanaryActivities(ports),
    ...createRehearsalActivities(ports),
    ...createValueActivities(ports),
    ...createReencryptionActivities(ports),
    ...createServiceActivities(ports),
    ...createVerificationActivities(ports),
  };
}

/** What the workflows call, by name. */
export type Activities = ReturnType<typeof createActivities>;
