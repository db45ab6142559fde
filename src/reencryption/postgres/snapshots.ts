import type pg from 'pg';
import { transactionModes } from './connection.ts';

/** Snapshots of one session, one after the other. Each begins in the round trip of the first statement that reads in it. */
export interface Snapshots {
  readonly client: pg.ClientBase;
  /** What to send in front of that statement; ends the snapshot before. */
  next(): string;
  /** Ends the last one. */
  end(): Promise<void>;
}

// A throttle may leave the session idle for long; it holds no lock that LiteLLM minds.
const begin = `${transactionModes.snapshot}; set local idle_in_transaction_session_timeout = 0; `;

export function createSnapshots(client: pg.ClientBase): Snapshots {
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
