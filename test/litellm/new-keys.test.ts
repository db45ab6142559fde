import { expect, test } from 'vitest';
import { generateKey } from '../../src/litellm/new-keys.ts';
import { tokenForms } from '../../src/litellm/token-row.ts';
import { Secret } from '../../src/rotation/secret.ts';

test('makes keys of 256 bits in hex behind sk-, as LiteLLM wants a salt key in FIPS mode, never the same twice', () => {
  const keys = Array.from({ length: 1000 }, () => generateKey().reveal());
  expect(new Set(keys).size).toBe(1000);
  for (const key of keys) {
    // `_SALT_KEY_HEX` of LiteLLM 1.110.2.
    expect(key).toMatch(/^(?:sk-)?((?:[0-9a-fA-F]{2}){32,})$/);
    expect(key).toMatch(/^sk-.{64}$/);
  }
});

test('knows the forms of a key in the table of virtual keys', () => {
  const { plain, sha256 } = tokenForms(new Secret('sk-1234'));
  expect(plain.reveal()).toBe('sk-1234');
  // printf sk-1234 | sha256sum
  expect(sha256).toBe('88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b');
});
