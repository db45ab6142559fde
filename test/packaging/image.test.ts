import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root } from './project.ts';

const lines = async (path: string): Promise<string[]> =>
  (await readFile(join(root, path), 'utf8')).split('\n');
const dockerfile = await lines('Dockerfile');
/** What it copies out of the project. */
const copied = dockerfile
  .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
  .flatMap((line) => line.split(/\s+/).slice(1, -1))
  .filter((word) => !word.startsWith('--'));

describe('the Dockerfile', () => {
  test('copies what is there, and what the builder is given', async () => {
    const given = (await lines('.dockerignore'))
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    expect(copied.length).toBeGreaterThan(5);
    for (const path of copied) {
      await expect(stat(join(root, path)), path).resolves.toBeDefined();
      expect(given).toContain(path);
    }
  });

  test('gives the builder neither the passwords nor the keys', async () => {
    const first = (await lines('.dockerignore')).find((line) => line !== '' && !line.startsWith('#'));
    expect(first).toBe('*');
    expect((await lines('.dockerignore')).join('\n')).not.toMatch(
      /^!(\.env|packaging\/?$|packaging\/compose)/m,
    );
  });

  test('starts from images of exact versions, with the Node that the project is developed with', async () => {
    const images = dockerfile.flatMap((line) => /^FROM (\S+)/.exec(line)?.[1] ?? []);
    expect(images).toHaveLength(4);
    for (const image of images) expect(image).toMatch(/:\d+\.\d+\.\d+-/);
    const node = /^NODE_VERSION := (.*)$/m.exec((await lines('Makefile')).join('\n'))?.[1];
    expect(images.filter((image) => image.startsWith('node:'))).toEqual(
      Array.from({ length: 3 }, () => `node:${node}-bookworm-slim`),
    );
  });

  test('does not run the worker as root', () => {
    expect(dockerfile.filter((line) => line.startsWith('USER '))).toEqual(['USER node']);
  });
});
