import type pg from 'pg';
import { tokenForms } from '../../litellm/token-row.ts';
import type { Secret } from '../../rotation/secret.ts';
import { journalSchema } from '../journal/journal.ts';
import { quote } from '../postgres/catalog.ts';
import { findTokenRow, isRowOf, tableOfTokens, tokenColumns, type TokenRow } from '../surveys/token-row.ts';

/** What moves with the key, and what it becomes; columns that the deployment's version lacks are left out. */
const setters: Readonly<Record<string, string>> = {
  updated_at: 'now()',
  rotation_count: 'coalesce(rotation_count, 0) + 1',
  last_rotation_at: 'now()',
};

const keepImage = `insert into ${journalSchema}.token_image (rotation, columns, before, after) values ($1, $2, $3, $4)`;
const readImages = `select columns, before, after from ${journalSchema}.token_image where rotation = $1`;
const dropImages = `delete from ${journalSchema}.token_image where rotation = $1`;

/** Renames the rows of the previous master key to the new one, each in its form, and keeps what they were. */
export async function moveTokenRow(
  client: pg.ClientBase,
  schema: string,
  rotation: string,
  keys: { readonly from: Secret; readonly to: Secret },
): Promise<TokenRow> {
  const columns = await tokenColumns(client, schema, Object.keys(setters));
  if (columns.length === 0) return 'none';
  if (keys.from.equals(keys.to)) return findTokenRow(client, schema, keys.from);
  const [from, to] = [tokenForms(keys.from), tokenForms(keys.to)];
  const shown = columns.map(({ name }) => `${quote(name)}::text`).join(', ');
  const sets = columns.map(({ name }) => `${quote(name)} = ${setters[name] ?? '$2'}`).join(', ');
  let found: TokenRow = 'none';
  for (const [form, next] of [
    ['sha256', to.sha256],
    ['plain', to.plain.reveal()],
  ] as const) {
    const image = {
      text: `select ${shown} from ${tableOfTokens(schema)} where ${isRowOf[form]} for update`,
      values: [from.sha256],
      rowMode: 'array' as const,
    };
    const [before] = (await client.query<(string | null)[]>(image)).rows;
    if (before === undefined) continue;
    const [after] = (
      await client.query<(string | null)[]>({
        text: `update ${tableOfTokens(schema)} set ${sets} where ${isRowOf[form]} returning ${shown}`,
        values: [from.sha256, next],
        rowMode: 'array',
      })
    ).rows;
    await client.query(keepImage, [rotation, columns.map(({ name }) => name), before, after]);
    found = form;
  }
  return found;
}

/** Gives the rows their previous name back, and each column that nobody changed since its previous value. */
export async function restoreTokenRow(
  client: pg.ClientBase,
  schema: string,
  rotation: string,
): Promise<number> {
  const types = new Map(
    (await tokenColumns(client, schema, Object.keys(setters))).map(({ name, type }) => [name, type]),
  );
  const { rows: images } = await client.query<Record<'columns' | 'before' | 'after', (string | null)[]>>(
    readImages,
    [rotation],
  );
  let restored = 0;
  for (const { columns, before, after } of images) {
    const sets = columns.flatMap((name, at) => {
      const type = name === null ? undefined : types.get(name);
      if (name === null || type === undefined) return [];
      return `${quote(name)} = case when ${quote(name)}::text is not distinct from ($2::text[])[${at + 1}]
        then ($1::text[])[${at + 1}]::${type} else ${quote(name)} end`;
    });
    const { rowCount } = await client.query(
      `update ${tableOfTokens(schema)} set ${sets.join(', ')} where token = ($2::text[])[1]`,
      [before, after],
    );
    restored += rowCount ?? 0;
  }
  await client.query(dropImages, [rotation]);
  return restored;
}
