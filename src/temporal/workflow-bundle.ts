import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, type WorkflowBundle } from '@temporalio/worker';

const here = dirname(fileURLToPath(import.meta.url));
const extension = extname(import.meta.url);
const sources = dirname(here);
/**
 * In `dist/` of the project, or of the installed package. Sources and build have each their own directory: the digests
 * differ, and a run from the sources would remove the bundle that the build has made.
 */
const bundles = join(
  sources,
  '..',
  extension === '.ts' ? join('dist', 'source-workflow-bundles') : 'workflow-bundles',
);

/**
 * The workflows as one script. Bundling takes some seconds, so it is kept under the digest of everything that goes into
 * it: a bundle can be missing, and never stale. Made in memory where the directory cannot be written.
 */
export async function loadWorkflowBundle(): Promise<WorkflowBundle> {
  const path = join(bundles, `${digestOfSources()}.js`);
  try {
    return { code: readFileSync(path, 'utf8') };
  } catch {
    const bundle = await bundleWorkflowCode({
      workflowsPath: join(sources, 'workflows', `index${extension}`),
      payloadConverterPath: join(sources, 'workflows', `payload-converter${extension}`),
      logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error: console.error },
    });
    keep(path, bundle.code);
    return bundle;
  }
}

function digestOfSources(): string {
  const hash = createHash('sha256');
  for (const folder of ['rotation', 'workflows']) {
    for (const name of readdirSync(join(sources, folder)).sort()) {
      if (name.endsWith(extension)) hash.update(name).update(readFileSync(join(sources, folder, name)));
    }
  }
  const worker = fileURLToPath(import.meta.resolve('@temporalio/worker/package.json'));
  return hash.update(readFileSync(worker)).digest('hex').slice(0, 16);
}

function keep(path: string, code: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, code);
    renameSync(temporary, path);
    for (const name of readdirSync(dirname(path))) {
      if (name.endsWith('.js') && join(dirname(path), name) !== path)
        rmSync(join(dirname(path), name), { force: true });
    }
  } catch {
    // A read-only installation: the next start bundles again.
  }
}
