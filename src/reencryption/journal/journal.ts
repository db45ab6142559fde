import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { failureTypes, RotationError } from '../../rotation/failure.ts';

/** Our own schema in LiteLLM's database: it lives and dies, and is backed up and restored, with the values it speaks of. */
export const journalSchema = 'litellm_rotate';

/** Each entry takes the journal one version up; entries are never edited once released. */
const versions: readonly string[] = [
  `
  create table litellm_rotate.identity (
    only_row boolean primary key default true check (only_row),
    fingerprint_key bytea not null
  );
  -- The token outlives every holder, so that it only ever grows.
  create table litellm_rotate.lease (
    only_row boolean primary key default true check (only_row),
    rotation text, target text, workflow_id text, run_id text, since timestamptz,
    token bigint not null default 0,
    -- When the attempt that has the token was scheduled, in ms since 1970.
    attempt_at bigint
  );
  create table litellm_rotate.rotation (
    rotation text primary key,
    side text not null default 'previous' check (side in ('previous', 'pending')),
    -- The oldest transaction that was in progress when the swap held its locks, and the swap's own.
    swap_horizon bigint, swap_xid bigint, swapped_at timestamptz, restored_at timestamptz, dropped_at timestamptz,
    -- One text sealed with the pending key: a later attempt with another key is caught before it writes.
    canary text,
    report jsonb, plan jsonb, evidence jsonb
  );
  create table litellm_rotate.staged_relation (
    id integer generated always as identity primary key,
    rotation text not null references litellm_rotate.rotation,
    relation text not null, relation_oids oid[] not null,
    -- Each as number and type. A row is found again by its key; keys is a digest of those that were known.
    columns text[] not null, key text[] not null, keys text not null,
    -- No row that is older than this transaction id has changed since it was looked at.
    horizon bigint not null,
    done boolean not null default false,
    rows bigint not null default 0, sealed bigint not null default 0,
    -- Places of the columns in which anything is carried over.
    touched integer[] not null default '{}',
    unique (rotation, relation)
  );
  create table litellm_rotate.staged (
    relation_id integer not null, key text[] not null,
    before text[] not null, after text[] not null, sealed integer not null,
    primary key (relation_id, key)
  ) with (toast_tuple_target = 8160);
  -- Ciphertext does not compress, and statistics about it are of no use; of the rest, a small sample says enough.
  alter table litellm_rotate.staged
    alter column before set storage external, alter column after set storage external,
    alter column before set statistics 0, alter column after set statistics 0,
    alter column relation_id set statistics 10, alter column key set statistics 10,
    alter column sealed set statistics 10;
  -- Every table of the journal has a primary key: else a publication FOR ALL TABLES would have Postgres refuse deletes.
  create table litellm_rotate.token_image (
    id integer generated always as identity primary key,
    rotation text not null references litellm_rotate.rotation,
    columns text[] not null, before text[] not null, after text[] not null
  );
  -- One text under the key that the database is under, for LiteLLM's host to try its own key on before a start.
  create table litellm_rotate.guard (
    only_row boolean primary key default true check (only_row),
    sealed text not null
  );
  insert into litellm_rotate.lease default values;
  `,
];

const schemaExists = `select 1 from pg_namespace where nspname = '${journalSchema}'`;
const readVersion = `select max(version) as version from ${journalSchema}.version`;

/** Creates or upgrades the journal. Two that do it at once wait for each other; done already, it only reads. */
export async function prepareJournal(client: pg.ClientBase): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtext('${journalSchema}'))`);
  // IF NOT EXISTS would ask for CREATE on the database even when the schema is there.
  const exists = (await client.query(schemaExists)).rowCount === 1;
  if (!exists) await client.query(`create schema ${journalSchema}`);
  const hasVersion = await client.query(
    `select to_regclass('${journalSchema}.version') is not null as found`,
  );
  if (hasVersion.rows[0].found !== true) {
    await client.query(
      `create table ${journalSchema}.version (version integer primary key, at timestamptz not null default now())`,
    );
  }
  const found = Number((await client.query(readVersion)).rows[0].version ?? 0);
  if (found > versions.length) {
    throw new RotationError(
      failureTypes.refused,
      `the journal in schema ${journalSchema} is of version ${found}, and this litellm-rotate knows up to ${versions.length}; use the newer release that wrote it`,
      { facts: { found, known: versions.length } },
    );
  }
  for (let version = found; version < versions.length; version += 1) {
    await client.query(versions[version] as string);
    if (version === 0) {
      await client.query(`insert into ${journalSchema}.identity (fingerprint_key) values ($1)`, [
        randomBytes(32),
      ]);
    }
    await client.query(`insert into ${journalSchema}.version (version) values ($1)`, [version + 1]);
  }
}

/** Random bytes made once a database, that key the fingerprints. */
export async function readFingerprintKey(client: pg.ClientBase): Promise<Uint8Array> {
  const { rows } = await client.query(`select fingerprint_key from ${journalSchema}.identity`);
  return new Uint8Array(rows[0].fingerprint_key as Buffer);
}

/** Whether `prepareJournal` has been here. */
export async function hasJournal(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query(
    `select to_regclass('${journalSchema}.token_image') is not null as found`,
  );
  return rows[0].found === true;
}
