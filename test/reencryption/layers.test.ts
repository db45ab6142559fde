import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { SealedShape } from '../../src/litellm/sealed-value.ts';
import { createClassifier } from '../../src/reencryption/values/classify.ts';
import { createReseal } from '../../src/reencryption/values/reseal.ts';
import type { RotationDatabase } from '../../src/reencryption/port.ts';
import {
  begin,
  beforeSalt,
  cipherOf,
  dump,
  masterKey,
  never,
  opened,
  pending,
  previous,
  sealed,
  silent,
  transition,
} from './database.ts';
import { useTestDatabase } from './database-hooks.ts';

const keys = [previous, beforeSalt, pending];
const classify = createClassifier(keys);
const reseal = createReseal([previous, beforeSalt], pending);

/** What somebody can make of a ciphertext before LiteLLM seals it as it is. */
const wrappings = {
  'a newline behind it': (text: string) => `${text}\n`,
  'blanks around it': (text: string) => ` ${text} `,
  'double quotes': (text: string) => JSON.stringify(text),
  'a JSON list': (text: string) => JSON.stringify([text]),
  'a line in its middle': (text: string) => `${text.slice(0, 20)}\r\n${text.slice(20)}`,
  'an id of a client': (text: string) => `resp_${text}`,
  'text behind its pad': (text: string) => `${text}==behind`,
};

describe('a value in which something opens that LiteLLM would not have sealed again', () => {
  test.for(Object.entries(wrappings))(
    'has one layer, and its plaintext stays byte for byte: %s',
    ([, wrap]) => {
      const plaintext = wrap(sealed('PLAIN-inner-1', beforeSalt));
      const after = reseal(sealed(plaintext)) ?? '';
      expect(opened(after, pending)).toBe(plaintext);
      expect(classify(after)?.layers).toEqual([pending.label]);
      expect(classify(sealed(plaintext))?.layers).toEqual([previous.label]);
    },
  );
});

const shape = fc.record<SealedShape>({
  format: fc.constantFrom('legacy', 'v2', 'v3'),
  marker: fc.constantFrom('', 'litellm_enc::'),
  alphabet: fc.constantFrom('urlsafe', 'standard'),
});
const layer = fc.record({
  key: fc.constantFrom(...keys),
  shape,
  wrap: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    fc.constantFrom(...Object.values(wrappings)),
  ),
});

test('whatever is sealed in whatever, no layer is left under another key than the new one', () => {
  fc.assert(
    fc.property(fc.string(), fc.array(layer, { minLength: 1, maxLength: 12 }), (plaintext, layers) => {
      const text = layers.reduce(
        (inner, { key, shape: given, wrap }, at) =>
          cipherOf(key).seal(Buffer.from(at === 0 || wrap === undefined ? inner : wrap(inner)), given),
        plaintext,
      );
      const before = classify(text);
      const after = classify(reseal(text) ?? text);
      expect(after?.layers).toEqual(before?.layers.map(() => pending.label));
    }),
    { numRuns: 500 },
  );
});

describe('in a database', () => {
  const lab = useTestDatabase();
  let database: RotationDatabase;
  beforeEach(() => {
    database = lab.rotationDatabase();
  });

  test.for(Object.entries(wrappings))('such a value is swapped and restored: %s', async ([, wrap]) => {
    const plaintext = wrap(sealed('PLAIN-inner'));
    await lab.run('insert into "LiteLLM_SSOIdentityAssertion" values ($1, $2)', ['odd', sealed(plaintext)]);
    const before = await dump(lab.client);
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const { value } = await lab.run(
      `select assertion_b64 as value from "LiteLLM_SSOIdentityAssertion" where user_id = 'odd'`,
    );
    expect(opened(value ?? '', pending)).toBe(plaintext);
    expect(await database.count(pending, transition.known, silent, never)).toMatchObject({ underOthers: 0 });
    await database.restore(transition, masterKey, fence, silent);
    expect(await dump(lab.client)).toEqual(before);
  });

  test('such a value that is stored between the cutover and the way back does not keep the way back from its end', async () => {
    const fence = await begin(database);
    await database.stage(transition, fence, silent, never);
    await database.swap(transition, masterKey, fence, silent);
    const plaintext = `resp_${sealed('PLAIN-inner', pending)}`;
    await lab.run('insert into "LiteLLM_SSOIdentityAssertion" values ($1, $2)', [
      'odd',
      sealed(plaintext, pending),
    ]);
    await database.restore(transition, masterKey, fence, silent);
    const { value } = await lab.run(
      `select assertion_b64 as value from "LiteLLM_SSOIdentityAssertion" where user_id = 'odd'`,
    );
    expect(opened(value ?? '', previous)).toBe(plaintext);
    expect(await database.count(previous, [pending], silent, never)).toMatchObject({ underOthers: 0 });
  });
});
