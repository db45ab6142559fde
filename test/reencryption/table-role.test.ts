import { expect, test } from 'vitest';
import { skippedRole } from '../../src/reencryption/postgres/table-role.ts';

/** New in LiteLLM 1.108 (`Daily...`) and 1.110, and those that were there before. */
test.for([
  ['LiteLLM_SpendLogs', 'request log'],
  ['LiteLLM_ErrorLogs', 'request log'],
  ['LiteLLM_SpendLogDelivery', 'request log'],
  ['LiteLLM_DailyUserSpend', 'usage counter'],
  ['LiteLLM_DailyRequestErrors', 'usage counter'],
  ['LiteLLM_DailyGatewayFailedRequests', 'usage counter'],
] as const)('%s grows with every request and is a %s', ([table, role]) => {
  expect(skippedRole(table, [])).toBe(role);
});

test.for(['LiteLLM_UserProviderCredentials', 'LiteLLM_TelemetryReport', 'LiteLLM_SkillSubmission'])(
  '%s, new since LiteLLM 1.107, is searched',
  (table) => {
    expect(skippedRole(table, [])).toBeUndefined();
    expect(skippedRole(table, [table])).toBe('excluded by configuration');
  },
);
