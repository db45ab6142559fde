import type { Fingerprint, NamedKey } from '../rotation/keys.ts';
import type { Secret } from '../rotation/secret.ts';
import type { Proxy } from '../litellm/proxy-port.ts';
import type { SealedFormat } from '../litellm/sealed-value.ts';
import type { RotationDatabase } from '../reencryption/port.ts';
import type { Rehearsal } from '../rehearsal/port.ts';
import type { SecretStore } from '../secret-stores/port.ts';
import type { Service } from '../services/port.ts';

/** One LiteLLM deployment, as the activities drive it. */
export interface Target {
  readonly name: string;
  readonly database: RotationDatabase;
  readonly store: SecretStore;
  readonly service: Service;
  /** One for each replica, addressed directly and not through a load balancer. */
  readonly proxies: readonly Proxy[];
  /** Where the canary's provider endpoint listens, and under which address LiteLLM reaches it. */
  readonly canary: { readonly host: string; readonly port: number; readonly url: string | undefined };
  /** Where a rotation can be rehearsed first; undefined where the configuration has no place for it. */
  readonly rehearsal: Rehearsal | undefined;
  /** The variables that LiteLLM reads. */
  readonly variables: { readonly master: string; readonly salt: string };
  /** Whether LiteLLM reads its keys by itself once it runs: then nothing tells what its process holds, but the proxy. */
  readonly readsKeysItself: boolean;
  /** Older keys that may have sealed values, given by the user. */
  readonly knownKeys: readonly NamedKey[];
  /** The formats of sealed values that every LiteLLM on the database reads. */
  readonly readsFormats: readonly SealedFormat[];
  readonly timing: {
    /** How long the proxy may take from start to ready. */
    readonly readyTimeoutMs: number;
    /** How long the stopped service's port and database sessions may linger. */
    readonly fenceTimeoutMs: number;
    /** How long the service's log is watched for decryption errors after the cutover. */
    readonly observeMs: number;
    /** The longest outage that a plan may expect; undefined: any. */
    readonly maxOutageMs: number | undefined;
  };
}

/** Everything that the activities need from the outside; built in the composition root. */
export interface Ports {
  /** Throws `RotationError` of type `Refused`, with the names it knows, for an unknown target. */
  target(name: string): Target;
  /** Names a key without revealing it, the same for every rotation of the target. */
  fingerprint(target: Target, key: Secret): Promise<Fingerprint>;
  /** Whether the workflow of a rotation is still open. A reset gives it another run id; the rotation's id stays. */
  isRunning(workflowId: string, rotation: string): Promise<boolean>;
  /** Masks known secrets and what looks like one, in log lines. */
  createRedactor(secrets: readonly Secret[]): (line: string) => string;
}

/** What every activity of a rotation is told. */
export interface Job {
  readonly target: string;
  readonly rotation: string;
}
