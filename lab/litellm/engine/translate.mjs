// GraphQL text (what prisma-client-py sends) -> Prisma JSON protocol (what the wasm engine takes),
// and the tagged JSON-protocol answer -> the plain values the GraphQL protocol answers with.
import { parse } from 'graphql';

// Longest spelling first: "createMany" is a prefix of "createManyAndReturn".
const ACTIONS = [
  'createManyAndReturn',
  'createMany',
  'createOne',
  'updateMany',
  'updateOne',
  'upsertOne',
  'deleteMany',
  'deleteOne',
  'findUnique',
  'findFirst',
  'findMany',
  'aggregate',
  'groupBy',
];
const RAW_ACTIONS = new Set(['queryRaw', 'executeRaw']);

/** Model name -> field name -> type name without `?` and `[]`, read off the datamodel's text. */
export function fieldTypes(datamodel) {
  const models = new Map();
  for (const [, name, body] of datamodel.matchAll(/^model\s+(\w+)\s*\{([\s\S]*?)^\}/gm)) {
    models.set(
      name,
      new Map([...body.matchAll(/^\s+(\w+)\s+(\w+)/gm)].map(([, field, type]) => [field, type])),
    );
  }
  return models;
}

export function splitRootField(name) {
  if (RAW_ACTIONS.has(name)) return { action: name, modelName: undefined };
  const action = ACTIONS.find((a) => name.startsWith(a));
  if (action === undefined) throw new Error(`unknown root field: ${name}`);
  const rest = name.slice(action.length);
  const throwing = (action === 'findUnique' || action === 'findFirst') && rest.endsWith('OrThrow');
  return throwing
    ? { action: `${action}OrThrow`, modelName: rest.slice(0, -'OrThrow'.length) }
    : { action, modelName: rest };
}

function intLiteral(text) {
  const n = Number(text);
  return Number.isSafeInteger(n) ? n : { $type: 'BigInt', value: text };
}

function literal(node) {
  switch (node.kind) {
    case 'StringValue':
      return node.value;
    case 'IntValue':
      return intLiteral(node.value);
    case 'FloatValue':
      return Number(node.value);
    case 'BooleanValue':
      return node.value;
    case 'NullValue':
      return null;
    case 'EnumValue':
      return { $type: 'Enum', value: node.value };
    case 'ListValue':
      return node.values.map(literal);
    case 'ObjectValue':
      return Object.fromEntries(node.fields.map((f) => [f.name.value, literal(f.value)]));
    default:
      throw new Error(`unsupported GraphQL value: ${node.kind}`);
  }
}

// In GraphQL a Json or Bytes argument is a plain string; the JSON protocol would store such a string as a JSON
// string, so it has to carry its type. `path` and the string_* filters of a Json field do stay strings.
const PLAIN_JSON_FILTERS = new Set([
  'path',
  'string_contains',
  'string_starts_with',
  'string_ends_with',
  'mode',
]);
function tag(type, value) {
  if (typeof value === 'string') return { $type: type, value };
  if (Array.isArray(value)) return value.map((v) => tag(type, v));
  if (value === null || typeof value !== 'object' || '$type' in value) return value;
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k, PLAIN_JSON_FILTERS.has(k) ? v : tag(type, v)]),
  );
}

function tagFields(models, modelName, value) {
  if (Array.isArray(value)) return value.map((v) => tagFields(models, modelName, v));
  if (value === null || typeof value !== 'object' || '$type' in value) return value;
  const fields = models.get(modelName);
  return Object.fromEntries(
    Object.entries(value).map(([key, v]) => {
      const type = fields?.get(key);
      if (type === 'Json' || type === 'Bytes') return [key, tag(type, v)];
      // A relation leads to its model; anything else (AND, create, some, ...) stays on this one.
      return [key, tagFields(models, models.has(type) ? type : modelName, v)];
    }),
  );
}

const TYPED_ARGUMENTS = new Set(['data', 'where', 'create', 'update', 'cursor']);

export function translator(datamodel) {
  const models = fieldTypes(datamodel);

  const args = (field, modelName) =>
    Object.fromEntries(
      (field.arguments ?? []).map((a) => {
        const value = literal(a.value);
        return [
          a.name.value,
          TYPED_ARGUMENTS.has(a.name.value) ? tagFields(models, modelName, value) : value,
        ];
      }),
    );

  const selection = (field, modelName) =>
    Object.fromEntries(
      (field.selectionSet?.selections ?? []).map((child) => {
        const nested = child.selectionSet !== undefined || (child.arguments ?? []).length > 0;
        if (!nested) return [child.name.value, true];
        const related = models.get(modelName)?.get(child.name.value) ?? modelName;
        return [child.name.value, { arguments: args(child, related), selection: selection(child, related) }];
      }),
    );

  /** One GraphQL document with one root field -> one JSON-protocol query. */
  return function toJsonProtocol(document) {
    const [operation] = parse(document, { noLocation: true }).definitions;
    const [root, ...others] = operation.selectionSet.selections;
    if (others.length > 0) throw new Error('more than one root field');
    const { action, modelName } = splitRootField(root.name.value);
    return {
      responseKey: root.alias?.value ?? root.name.value,
      query: {
        modelName,
        action,
        query: { arguments: args(root, modelName), selection: selection(root, modelName) },
      },
    };
  };
}

/** {"$type":"DateTime","value":"..."} -> "..."; BigInt -> a number where JSON can hold it. */
export function untag(value) {
  if (Array.isArray(value)) return value.map(untag);
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.$type === 'string') {
    if (value.$type !== 'BigInt') return value.value;
    const n = Number(value.value);
    return Number.isSafeInteger(n) ? n : value.value;
  }
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, untag(v)]));
}

// Before 0.14, prisma-client-py wants every cell of a raw query's answer tagged with its type.
function taggedCell(type, value) {
  if (value === null) return { prisma__type: 'null', prisma__value: null };
  if (!type.endsWith('-array')) return { prisma__type: type, prisma__value: value };
  const item = type.slice(0, -'-array'.length);
  return { prisma__type: 'array', prisma__value: value.map((v) => taggedCell(item, v)) };
}
const taggedRows = ({ columns, types, rows }) =>
  rows.map((row) => Object.fromEntries(row.map((value, i) => [columns[i], taggedCell(types[i], value)])));

/** Renames the engine's response key (action and model) to the alias that the client asked for. */
export function fromJsonProtocol(answer, { responseKey, query }) {
  const body = JSON.parse(answer);
  if (body.errors || !body.data) return answer;
  const [value] = Object.values(body.data);
  const plain =
    query.action === 'queryRaw' ? taggedRows(value) : query.action === 'executeRaw' ? value : untag(value);
  return JSON.stringify({ ...body, data: { [responseKey]: plain } });
}
