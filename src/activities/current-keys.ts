import { describeFinding, type Finding, isBlocking } from '../rotation/finding.ts';
import { failureTypes, RotationError } from '../rotation/failure.ts';
import type { KeyPair } from '../rotation/keys.ts';
import type { Job, Target } from './ports.ts';

/** One failure for all blocking findings, so that a person can mend them in one go. */
export function refusal(findings: readonly Finding[]): RotationError {
  const blocking = findings.filter(isBlocking);
  const head = `refused: ${blocking.length} finding${blocking.length === 1 ? '' : 's'} to mend first, nothing was changed`;
  return new RotationError(
    failureTypes.refused,
    [head, ...blocking.map((finding) => `- ${describeFinding(finding)}`)].join('\n'),
    {
      facts: { findings },
    },
  );
}

/** The keys that the secret files hold. `Refused` with every finding where they cannot be told. */
export async function currentKeys(target: Target, { rotation }: Job): Promise<KeyPair> {
  const { current, findings } = await target.store.inspect(rotation);
  if (current === undefined) throw refusal(findings);
  return current;
}

/** Without a table of LiteLLM's there is nothing to find, which would read as if there were nothing to do. */
export async function refuseOtherDatabase({ database }: Target): Promise<void> {
  const findings = (await database.inspect()).filter(({ code }) => code === 'no-litellm-tables');
  if (findings.length > 0) throw refusal(findings);
}
