/** LiteLLM's virtual keys, and its master key where that is stored. */
export const tokenTable = 'LiteLLM_VerificationToken';

/** Why a table's rows are not searched for sealed values. */
export type SkippedRole = 'request log' | 'usage counter' | 'excluded by configuration' | 'foreign table';

/**
 * Tables of LiteLLM's that grow with every request and hold no setting: they can have 10^8 rows. Told by what they are
 * called for, so that the next `LiteLLM_Daily...` is recognised, too. Sealed values in them are ids that clients hold
 * (`resp_` in request_id), which a rotation cannot carry over.
 * Source: LiteLLM 1.106.2, 1.108.7 and 1.110.2, schema.prisma.
 */
const roles: readonly { readonly role: SkippedRole; readonly name: RegExp }[] = [
  { role: 'request log', name: /^LiteLLM_(SpendLog|ErrorLog)/ },
  { role: 'usage counter', name: /^LiteLLM_Daily/ },
];

/** Why the table is passed over, or undefined when its rows are searched. */
export function skippedRole(table: string, extraSkipped: readonly string[]): SkippedRole | undefined {
  if (extraSkipped.includes(table)) return 'excluded by configuration';
  return roles.find(({ name }) => name.test(table))?.role;
}
