import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRedactor } from '../../src/rotation/redaction.ts';
import { Secret } from '../../src/rotation/secret.ts';

const plain = 'correct horse/battery+staple?&"';
const redact = createRedactor([new Secret(plain), new Secret('sk-known'), new Secret('x')]);
const base64 = Buffer.from(plain).toString('base64');

describe('masks a known secret', () => {
  test.for([
    ['plain', plain],
    ['in JSON', JSON.stringify(plain).slice(1, -1)],
    ['URL encoded', encodeURIComponent(plain)],
    ['in base64', base64],
    ['in unpadded base64', base64.replace(/=+$/, '')],
    ['in urlsafe base64', Buffer.from(plain).toString('base64url')],
    ['as SHA-256', createHash('sha256').update(plain).digest('hex')],
    ['as SHA-256 in capitals', createHash('sha256').update(plain).digest('hex').toUpperCase()],
  ] as const)('%s', ([, form]) => {
    const line = redact(`before ${form} after, ${form}`);
    expect(line).not.toContain(form);
    expect(line).toMatch(/^before \[secret\]=* after, \[secret\]=*$/);
  });

  test('that another one begins with: of both, nothing is left to be read', () => {
    const both = createRedactor([new Secret('horse'), new Secret('horse-battery')]);
    expect(both('horse-battery, horse')).toBe('[secret], [secret]');
  });

  test('without the white space around it, which a log line may have lost', () => {
    expect(createRedactor([new Secret(' horse-battery\r')])('horse-battery')).toBe('[secret]');
  });

  test('whatever it is, anywhere in a line', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8 }), fc.string(), fc.string(), (secret, before, after) => {
        fc.pre(!'[secret]'.includes(secret) && !before.includes(secret) && !after.includes(secret));
        expect(createRedactor([new Secret(secret)])(`${before} ${secret} ${after}`)).not.toContain(secret);
      }),
    );
  });
});

describe('masks what looks like a secret', () => {
  test.for([
    ['Received API Key = sk-Zq8_-a1', 'Received API Key = [secret]'],
    ['authorization: Bearer abc.def', 'authorization: Bearer [secret]'],
    ['"Authorization": "Basic dXNlcjpwYXNz"', '"Authorization": "Basic [secret]"'],
    [
      'could not connect to postgresql://litellm:p@ss/word@db.internal:5432/litellm?sslmode=require',
      'could not connect to postgresql://litellm:[secret]@db.internal:5432/litellm?sslmode=require',
    ],
    ["redis://:hunter2@127.0.0.1:6379/0'", "redis://:[secret]@127.0.0.1:6379/0'"],
    ['LITELLM_MASTER_KEY=abc api_key="def" x', 'LITELLM_MASTER_KEY=[secret] api_key="[secret]" x'],
    [
      `{'model': 'azure/gpt', 'api_key': "it's 0f", "client_secret" : "q\\"r s", 'token': 12}`,
      `{'model': 'azure/gpt', 'api_key': "[secret]", "client_secret" : "[secret]", 'token': 12}`,
    ],
    ['value v2:gcm:AAECAwQFBgcICQoLOtP9p-swkwek419zZffabw== end', 'value v2:gcm:[secret] end'],
    [
      "'api_base': 'genNH7CAP_e9yre8rT0heM3BnvXPmSKBdamzhHZaqCPa3pkvvrmc9Q86OyUgkoU1MdvX'",
      "'api_base': '[secret]'",
    ],
    ['litellm_enc::AAECAwQFBgcICQoLDA0ODxAREhMUFRYX-H1W0sG8k98upDKa3LpR9g==', 'litellm_enc::[secret]'],
  ] as const)('%s', ([line, expected]) => {
    expect(redact(line)).toBe(expected);
  });
});

test.for([
  '03:27:24 - LiteLLM Proxy:ERROR: encrypt_decrypt_utils.py:213 - Error decrypting value for key: api_key, Did your master_key change?',
  '  File "/opt/venv/lib/python3.11/site-packages/litellm/proxy/management_endpoints/model_management_endpoints.py", line 2611',
  'INFO:     Uvicorn running on http://127.0.0.1:42587 (Press CTRL+C to quit)',
  'Nov 24 03:12:00 host systemd[1]: litellm.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED',
  'Unique constraint failed on the fields: (`model_id`)',
])('leaves %s to be read', (line) => {
  expect(redact(line)).toBe(line);
});

test('a line that is too long is cut before a word, and so before what could be half of a secret', () => {
  const known = 'x'.repeat(64);
  const masking = createRedactor([new Secret(known)]);
  expect(masking(`${'word '.repeat(380)}${known}`)).toBe(`${'word '.repeat(380)}[secret]`);
  expect(masking(`${'word '.repeat(395)}${known}`)).toBe(`${'word '.repeat(395)}…`);
  // As many steps as there are pairs of letters, uncut: hours.
  expect(masking('a'.repeat(4_000_000))).toBe('…');
});
