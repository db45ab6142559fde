import type pg from 'pg';

/**
 * A session that reads relations one after the other, in a transaction for each. The transaction keeps the relation's
 * lock, so that nobody gives its rows other places (`VACUUM FULL`, `CLUSTER`); it holds a snapshot only while a cursor is
 * open. Each begins in the round trip of the first statement that reads in it.
 */
export interface RelationReader {
  readonly client: pg.ClientBase;
  /** What to send in front of that statement; ends the transaction before. */
  next(): string;
  /** Ends the last one. */
  end(): Promise<void>;
}

// Not repeatable read, which keeps the first statement's snapshot to the end. A throttle may leave the session idle for
// long; it holds no lock that LiteLLM minds.
const begin =
  'begin isolation level read committed read only; set local idle_in_transaction_session_timeout = 0; ';

export function createRelationReader(client: pg.ClientBase): RelationReader {
  let open = false;
  return {
    client,
    next() {
      // A commit outside of a transaction would leave a warning in Postgres' log.
      const text = open ? `commit; ${begin}` : begin;
      open = true;
      return text;
    },
    async end() {
      if (open) await client.query('commit');
      open = false;
    },
  };
}
