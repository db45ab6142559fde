import { canRunDocker, ensureCompose, ensureDocker } from './docker.ts';
import { ensureLiteLLM } from './litellm/install.ts';
import { findPostgres } from './postgres-binaries.ts';
import { say, stopwatch } from './report.ts';
import { findTemporalCli } from './temporal-cli.ts';

/**
 * Makes sure that the parts of the lab are there before something starts them:
 *
 *   node lab/setup.ts [temporal|postgres|litellm|compose|docker|all]...
 *
 * With no part named: temporal, postgres and litellm, which is what a demonstration needs.
 */
const parts = {
  temporal: findTemporalCli,
  postgres: findPostgres,
  litellm: ensureLiteLLM,
  compose: () => ensureCompose().catch(note('compose')),
  docker: async () => {
    const refusal = await canRunDocker();
    if (refusal === undefined) await ensureDocker().catch(note('docker'));
    else say(`docker: ${refusal}`);
  },
} as const;

/** What only some tests need, and not every machine can have: those tests are skipped. */
function note(part: string): (error: unknown) => void {
  return (error) => say(`${part}: ${error instanceof Error ? error.message : String(error)}`);
}

type Part = keyof typeof parts;

const isPart = (name: string): name is Part => name in parts;
const named = process.argv.slice(2);
const wanted = named.includes('all')
  ? Object.keys(parts)
  : named.length > 0
    ? named
    : ['temporal', 'postgres', 'litellm'];
const unknown = wanted.find((name) => !isPart(name));
if (unknown !== undefined) {
  console.error(`lab: error: no part ${unknown}\nlab: hint: ${Object.keys(parts).join(', ')}, all`);
  process.exit(2);
}

// Go builds with all processors, pip waits for the network: the builds come one after the other, beside the rest.
const since = stopwatch();
const built = new Set<Part>(['temporal', 'compose']);
const inTurn = async (names: readonly Part[]): Promise<void> => {
  for (const name of names) await parts[name]();
};
const chosen = wanted.filter(isPart);
const results = await Promise.allSettled([
  inTurn(chosen.filter((name) => built.has(name))),
  ...chosen.filter((name) => !built.has(name)).map((name) => parts[name]()),
]);
for (const result of results) {
  if (result.status === 'rejected') {
    console.error(
      `lab: error: ${result.reason instanceof Error ? result.reason.message : String(result.reason)}`,
    );
    process.exitCode = 1;
  }
}
say(`lab: ${chosen.join(', ')} (${since()})`);
