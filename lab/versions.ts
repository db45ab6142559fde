/** Every version that the lab installs, in one place. */
export const versions = {
  /** The newest Temporal CLI that `go install` accepts: later tags carry a `replace` directive. Server 1.29.1, UI 2.42.1. */
  temporalCli: '1.5.1',
  /** The npm package of Postgres binaries, used where no Postgres is installed. */
  embeddedPostgres: '15.18.0-beta.17',
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
