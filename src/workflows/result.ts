import type { Rehearsed } from '../rotation/rehearsal.ts';
import type { RotationRequest } from '../rotation/request.ts';
import type { RotationResult } from '../rotation/status.ts';
import type { Rotation } from './rotation.ts';

/** What a rotation can say of itself at any moment; what it changed is for the end to add. */
export function resultSoFar(
  { progress }: Rotation,
  { requestedBy, reason, target }: RotationRequest,
  planDigest: string,
  rehearsal: Rehearsed | null,
  summary: string,
): RotationResult {
  const { steps, outageMs, rotation } = progress.status;
  return {
    outcome: 'rotated',
    rotation,
    target,
    summary,
    requestedBy,
    reason,
    fingerprints: null,
    reencrypted: null,
    tokenRow: 'none',
    outageMs,
    outageParts: null,
    rehearsal,
    planDigest,
    plan: null,
    steps: steps.map(({ title, result, startedAt, endedAt }) => ({
      title,
      result,
      seconds: Math.round(((endedAt ?? startedAt) - startedAt) / 100) / 10,
    })),
  };
}
