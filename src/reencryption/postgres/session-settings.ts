import { escapeIdentifier } from 'pg';

/**
 * A role's or a database's own limits would end the snapshot of a long stage, or a session that is lent and waits:
 * `transaction_timeout` (Postgres 17 and later) and `idle_session_timeout` (14 and later; its manual, "Statement Behavior").
 */
const endlessWhereKnown = `select set_config(name, '0', false)
  from unnest(array['transaction_timeout', 'idle_session_timeout']) as name where current_setting(name, true) is not null`;

/** Texts of values must not depend on the role's or the database's settings: they are compared later. */
export function sessionSettings(schema: string, lockTimeoutMs: number, statementTimeoutMs: number): string {
  return [
    // Triggers of LiteLLM's find their tables by it; pg_catalog stands in front of it implicitly.
    `set search_path = ${escapeIdentifier(schema)}`,
    `set timezone = 'UTC'`,
    `set datestyle = 'ISO, MDY'`,
    `set intervalstyle = 'postgres'`,
    `set extra_float_digits = 1`,
    `set bytea_output = 'hex'`,
    // Off, an array's nulls would come back from its text as strings.
    `set array_nulls = on`,
    `set standard_conforming_strings = on`,
    `set cursor_tuple_fraction = 1`,
    // Room for the joins of the swap: the default spills a hash of ten thousand rows to disk, behind the fence.
    `set work_mem = '32MB'`,
    // Staged rows are looked up by their keys. At the default, the price of a disk's seek, Postgres would rather hash all of
    // a large table for a few of its rows, behind the fence.
    `set random_page_cost = 1.1`,
    // Compiling an expression for each of a hundred columns takes longer than it saves.
    `set jit = off`,
    // Where a policy would hide rows from us, Postgres is to refuse: they would stay under a key that goes.
    `set row_security = off`,
    `set client_min_messages = warning`,
    `set lock_timeout = ${Math.ceil(lockTimeoutMs)}`,
    `set statement_timeout = ${Math.ceil(statementTimeoutMs)}`,
    // A worker that is cut off must not hold LiteLLM's tables for longer than this.
    `set idle_in_transaction_session_timeout = 120000`,
    endlessWhereKnown,
  ].join(';');
}
