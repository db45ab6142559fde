import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { seal } from './sealing.ts';

/** A line of the ledger. Of a write without its `confirmed` line, nobody can know whether it happened. */
export interface Written {
  readonly id: string;
  /** `null` deletes the row. */
  readonly secret: string | null;
  readonly confirmed: boolean;
}

const insert = `insert into "LiteLLM_CredentialsTable"
  (credential_id, credential_name, credential_values, created_by, updated_by, updated_at) values ($1, $1, $2, 'busy', 'busy', now())`;
const update = `update "LiteLLM_CredentialsTable" set credential_values = $2, updated_at = now() where credential_id = $1`;
const remove = `delete from "LiteLLM_CredentialsTable" where credential_id = $1`;

/**
 * Users at work: inserts, updates and deletes credentials under the key that the service was started with, as fast as the
 * database takes them, and keeps a ledger of what it asked for and what the database has confirmed. Returns what ends it.
 */
export function startBusyWriter(pool: pg.Pool, signingKey: string, ledger: string): () => Promise<void> {
  const life = { going: true };
  const mine: string[] = [];
  const note = (written: Written): void => appendFileSync(ledger, `${JSON.stringify(written)}\n`);
  const write = async (id: string, secret: string | null, sql: string, values: unknown[]): Promise<void> => {
    note({ id, secret, confirmed: false });
    const { rowCount } = await pool.query(sql, values);
    // No row: its insert was never carried out.
    note({ id, secret: rowCount === 1 ? secret : null, confirmed: true });
  };
  const one = async (turn: number): Promise<void> => {
    const secret = `PLAIN-busy-${turn}-${randomUUID()}`;
    const values = JSON.stringify({ api_key: seal(secret, signingKey, turn % 3 === 0 ? 'v2' : 'legacy') });
    const old = turn % 3 === 0 ? undefined : mine[(turn * 7) % Math.max(1, mine.length)];
    if (old === undefined) {
      const id = randomUUID();
      mine.push(id);
      await write(id, secret, insert, [id, values]);
    } else if (turn % 3 === 1) {
      await write(old, secret, update, [old, values]);
    } else {
      mine.splice(mine.indexOf(old), 1);
      await write(old, null, remove, [old]);
    }
  };
  const loop = (async () => {
    for (let turn = 0; life.going; turn += 1) {
      await one(turn).catch(() => sleep(50));
      await sleep(2);
    }
  })();
  return async () => {
    life.going = false;
    await loop;
  };
}
