import { describe, expect, test } from 'vitest';
import { parseRequest } from '../../src/rotation/request.ts';

describe('a rotation request', () => {
  test('rotates both keys when none is named', () => {
    expect(parseRequest([{ target: 'prod' }])).toEqual({
      target: 'prod',
      keys: ['master', 'salt'],
      requestedBy: null,
      reason: null,
      dryRun: false,
      rehearse: null,
    });
  });

  test('takes whatever people write', () => {
    const reason = 'TICKET-12: “älter als 90 Tage” 🔑\n\tsee 模型';
    expect(parseRequest([{ target: 'prod', reason }])).toMatchObject({ reason });
  });

  test('keeps the order master, salt, and names each key once', () => {
    expect(parseRequest([{ target: 'prod', keys: ['salt', 'master', 'salt'] }]).keys).toEqual([
      'master',
      'salt',
    ]);
  });

  test.for([
    ['no argument', [], 'found 0 arguments, expected one'],
    ['two arguments', [{ target: 'a' }, {}], 'found 2 arguments, expected one'],
    ['a text', ['prod'], 'found a string, expected a JSON object'],
    ['a list', [[]], 'found a list, expected a JSON object'],
    ['null', [null], 'found null, expected a JSON object'],
    ['bytes', [new Uint8Array([123])], 'found bytes that are not JSON, expected a JSON object'],
    ['no target', [{}], '"target" is missing'],
    ['an empty target', [{ target: '' }], '"target" must be a text of 1 to 500 characters'],
    [
      'an unknown field',
      [{ target: 'a', tagret: 'b' }],
      'unknown field "tagret"; the fields are target, keys, requestedBy, reason, dryRun, rehearse',
    ],
    ['no key', [{ target: 'a', keys: [] }], '"keys" is empty, so there is nothing to rotate'],
    ['an unknown key', [{ target: 'a', keys: ['root'] }], 'must be a list of "master" and "salt"'],
    ['a dry run that is a text', [{ target: 'a', dryRun: 'yes' }], '"dryRun" must be true or false'],
    ['a rehearsal that is a text', [{ target: 'a', rehearse: 'yes' }], '"rehearse" must be true or false'],
    // jsonb takes neither, and so the evidence could not be recorded: after the outage, and for nothing.
    ['a reason with a NUL', [{ target: 'a', reason: 'a\u0000b' }], '"reason" must be a text of 1 to 500'],
    [
      'half a character',
      [{ target: 'a', requestedBy: '\ud83d' }],
      '"requestedBy" must be a text of 1 to 500',
    ],
    ['a reason that is too long', [{ target: 'a', reason: 'x'.repeat(501) }], '"reason" must be a text'],
  ] as const)('refuses %s with one sentence', ([, inputs, problem]) => {
    expect(() => parseRequest(inputs)).toThrow(
      expect.objectContaining({
        type: 'BadRequest',
        message: expect.stringContaining(problem) as string,
      }) as Error,
    );
    expect(() => parseRequest(inputs)).toThrow(/^the input is not a rotation request: [^\n]+$/);
  });
});
