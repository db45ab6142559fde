// A Prisma driver adapter over node-postgres. Unlike @prisma/adapter-pg 5.17 it reads every column type,
// among them `name` (information_schema), which the native engine also reads and LiteLLM asks for.
import pg from 'pg';
import * as utils from '@prisma/driver-adapter-utils';

const { ColumnTypeEnum: T, ok, err } = utils;

// OID -> [scalar column type, OID of its array type, array column type]
const OIDS = [
  [16, T.Boolean, 1000, T.BooleanArray],
  [17, T.Bytes, 1001, T.BytesArray],
  [18, T.Character, 1002, T.CharacterArray],
  [19, T.Text, 1003, T.TextArray],
  [20, T.Int64, 1016, T.Int64Array],
  [21, T.Int32, 1005, T.Int32Array],
  [23, T.Int32, 1007, T.Int32Array],
  [25, T.Text, 1009, T.TextArray],
  [26, T.Int64, 1028, T.Int64Array],
  [114, T.Json, 199, T.JsonArray],
  [3802, T.Json, 3807, T.JsonArray],
  [142, T.Text, 143, T.TextArray],
  [650, T.Text, 651, T.TextArray],
  [869, T.Text, 1041, T.TextArray],
  [700, T.Float, 1021, T.FloatArray],
  [701, T.Double, 1022, T.DoubleArray],
  [790, T.Numeric, 791, T.NumericArray],
  [1700, T.Numeric, 1231, T.NumericArray],
  [1042, T.Text, 1014, T.TextArray],
  [1043, T.Text, 1015, T.TextArray],
  [1082, T.Date, 1182, T.DateArray],
  [1083, T.Time, 1183, T.TimeArray],
  [1266, T.Time, 1270, T.TimeArray],
  [1114, T.DateTime, 1115, T.DateTimeArray],
  [1184, T.DateTime, 1185, T.DateTimeArray],
  [1560, T.Text, 1561, T.TextArray],
  [1562, T.Text, 1563, T.TextArray],
  [2950, T.Uuid, 2951, T.UuidArray],
];
const COLUMN_TYPE = new Map(
  OIDS.flatMap(([s, st, a, at]) => [
    [s, st],
    [a, at],
  ]),
);
const ELEMENT_OF = new Map(OIDS.map(([s, , a]) => [a, s]));

const utc = (s) => s.replace(/[+-]00(:00)?$/, ''); // the session's TimeZone is UTC
const scalarParser = (oid) => {
  switch (oid) {
    case 16:
      return (s) => s === 't';
    case 17:
      return (s) => Array.from(pg.types.getTypeParser(17)(s));
    case 21:
    case 23:
    case 700:
    case 701:
      return Number;
    case 790:
      return (s) => s.replace(/[^0-9.-]/g, '');
    case 1184:
    case 1266:
      return utc;
    default:
      return (s) => s;
  }
};
// pg's own text[] parser (OID 1009) gives an array of strings, which suits every one-dimensional array.
const parserFor = (oid) => {
  const element = ELEMENT_OF.get(oid);
  if (element === undefined) return scalarParser(oid);
  const parse = scalarParser(element);
  return (s) =>
    pg.types
      .getTypeParser(1009)(s)
      .map((item) => (item === null ? null : parse(item)));
};

const asPrismaError = (error) =>
  typeof error?.code === 'string' && typeof error?.severity === 'string'
    ? {
        kind: 'Postgres',
        code: error.code,
        severity: error.severity,
        message: error.message,
        detail: error.detail,
        column: error.column,
        hint: error.hint,
      }
    : undefined;

class Queryable {
  provider = 'postgres';
  adapterName = 'litellm-rotate-lab';
  constructor(client) {
    this.client = client;
  }

  async #run({ sql, args }) {
    try {
      return ok(
        await this.client.query({
          text: sql,
          values: args.map((a) =>
            Array.isArray(a) ? a.map((x) => (ArrayBuffer.isView(x) ? Buffer.from(x) : x)) : a,
          ),
          rowMode: 'array',
          types: { getTypeParser: (oid) => parserFor(oid) },
        }),
      );
    } catch (error) {
      const known = asPrismaError(error);
      if (known === undefined) throw error;
      return err(known);
    }
  }

  async queryRaw(query) {
    return (await this.#run(query)).map(({ fields, rows }) => ({
      columnNames: fields.map((f) => f.name),
      columnTypes: fields.map((f) => COLUMN_TYPE.get(f.dataTypeID) ?? T.Text),
      rows,
    }));
  }

  async executeRaw(query) {
    return (await this.#run(query)).map(({ rowCount }) => rowCount ?? 0);
  }
}

class Transaction extends Queryable {
  options = { usePhantomQuery: false };
  async commit() {
    this.client.release();
    return ok(undefined);
  }
  async rollback() {
    this.client.release();
    return ok(undefined);
  }
}

export class PgAdapter extends Queryable {
  constructor(pool, schema) {
    super(pool);
    this.schema = schema;
  }
  getConnectionInfo() {
    return ok({ schemaName: this.schema });
  }
  async startTransaction() {
    return ok(new Transaction(await this.client.connect()));
  }
}

/** Prisma-style URL -> pg pool settings and schema. */
export function poolSettings(url) {
  const u = new URL(url);
  const take = (name) => {
    const v = u.searchParams.get(name);
    u.searchParams.delete(name);
    return v ?? undefined;
  };
  const schema = take('schema') ?? 'public';
  const limit = Number(take('connection_limit') ?? 5);
  const poolTimeout = Number(take('pool_timeout') ?? 10);
  const options = take('options');
  for (const ignored of [
    'connect_timeout',
    'socket_timeout',
    'pgbouncer',
    'statement_cache_size',
    'sslaccept',
  ])
    take(ignored);
  return {
    schema,
    pool: {
      connectionString: u.toString(),
      max: Math.max(1, limit),
      connectionTimeoutMillis: poolTimeout * 1000,
      options: [options, `-c TimeZone=UTC`, `-c search_path="${schema}"`].filter(Boolean).join(' '),
    },
  };
}
