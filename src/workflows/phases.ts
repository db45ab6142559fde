import type { Plan } from '../rotation/plan.ts';
import type { Rehearsed } from '../rotation/rehearsal.ts';
import { looks, proxy, secrets, service, swaps, undo, values } from './policies.ts';
import { rehearse } from './rehearsal.ts';
import type { Rotation, Staged } from './rotation.ts';

/**
 * Makes the pending keys, rehearses with them where that was asked for, and makes every new ciphertext beside the old
 * one. The service runs on.
 */
export async function stage(rotation: Rotation, plan: Plan): Promise<Staged> {
  const { job, progress, pausing, undo: steps, back } = rotation;
  await pausing.gate();
  progress.enter(plan.rehearsal === null ? 'stage' : 'rehearse');
  steps.add(back.pendingKeys);
  const fingerprints = await progress.run(
    secrets.generateKeys,
    { ...job, rotationCase: plan.rotationCase },
    `Generate the pending ${plan.rotationCase.rotate.join(' and ')} ${plan.rotationCase.rotate.length === 1 ? 'key' : 'keys'}`,
    ({ pending }) => `master ${pending.master}${pending.salt === null ? '' : `, salt ${pending.salt}`}`,
  );
  let rehearsed: Rehearsed | null = null;
  if (plan.rehearsal !== null) {
    rehearsed = await rehearse(rotation, plan);
    await pausing.gate();
    progress.enter('stage');
  }
  steps.add(back.canary);
  const { port } = await progress.run(
    proxy.installCanary,
    job,
    'Store a canary model and call it through the proxy',
  );
  steps.add(back.stagedValues);
  await progress.run(
    values.stageValues,
    { ...job, expected: plan.database.values },
    plan.rotationCase.reencrypt === null
      ? 'Prepare the journal: no value is re-encrypted'
      : `Re-encrypt ${plan.database.values} values in ${plan.database.columns} columns, beside the old ones`,
    (staged) => `${staged.values} values in ${staged.rows} rows`,
    (call) => pausing.around(call),
  );
  return { fingerprints, rehearsed, canaryPort: port };
}

/** Stops the service, and proves that nothing can write with the current key. Returns when it began to stop it. */
export async function fence(rotation: Rotation, plan: Plan): Promise<number> {
  const { job, progress, undo: steps, back } = rotation;
  progress.enter('fence');
  if (!steps.has(back.stop.name)) await lookAgain(rotation);
  const stoppedAt = Date.now();
  steps.add(back.stop);
  progress.serving(false);
  await progress.run(service.stopService, job, `Stop ${plan.service.description}`, ({ detail }) => detail);
  await progress.run(
    service.proveFenced,
    job,
    'Prove that nothing can write with the current key',
    ({ detail }) => detail,
  );
  return stoppedAt;
}

/** Preflight may be days ago, as a pause may last, and people store and delete models meanwhile. */
async function lookAgain(rotation: Rotation): Promise<void> {
  const seen = await rotation.progress.run(
    looks.inspectProxy,
    rotation.job,
    'Look once more at the models that are served',
    ({ models }) => `${models} models`,
  );
  if (seen.findings.length === 0) rotation.before = seen;
}

/** The swap in the database, then the secret files, behind the fence. */
export async function cutover({ job, progress, undo: steps, back }: Rotation, plan: Plan) {
  progress.enter('cutover');
  steps.add(back.swap);
  const beganAt = Date.now();
  const swapped = await progress.run(
    swaps.swapValues,
    job,
    plan.rotationCase.reencrypt === null
      ? "Update the master key's token row and the marker in one transaction"
      : `Swap ${plan.database.values} values, the master key's token row and the marker in one transaction`,
    (done) =>
      `${done.values} values in ${done.rows} rows, ${done.lateValues} of them written since stage; token row: ${done.tokenRow}`,
  );
  const swapMs = Date.now() - beganAt;
  steps.add(back.secrets);
  await progress.run(
    secrets.writeSecrets,
    job,
    `Write the new keys to ${plan.secrets.description}`,
    ({ written }) => `${written} written`,
  );
  return { ...swapped, swapMs };
}

/** Starts the service, once, and waits until it is ready. */
export async function start({ job, progress, undo: steps, back }: Rotation, plan: Plan): Promise<void> {
  progress.enter('start');
  steps.add(back.start);
  const { instance } = await progress.run(
    service.startService,
    job,
    `Start ${plan.service.description}`,
    ({ detail }) => detail,
  );
  await progress.run(
    service.awaitReady,
    { ...job, instance },
    'Wait until every replica is ready',
    ({ seconds }) => `after ${seconds} s`,
  );
  progress.serving(true);
}

/** The proof that the new keys are in force everywhere, and nothing else is. */
export async function verify(
  { job, progress, before }: Rotation,
  plan: Plan,
  { canaryPort }: Staged,
  swapped: number,
): Promise<void> {
  const side = { ...job, side: 'pending' as const };
  progress.enter('verify');
  await progress.run(
    proxy.verifyKeys,
    side,
    'Verify that the new key is accepted, the previous and a random one refused',
  );
  const { models, modelsDigest } = before ?? plan.proxy;
  await progress.run(
    proxy.verifyModels,
    { ...job, models, modelsDigest },
    `Verify that the same ${models} models are served`,
  );
  await progress.run(
    proxy.verifyCanary,
    { ...job, port: canaryPort },
    'Call the canary: its stored credential reaches the provider',
  );
  const scan = (title: string, expected: number) =>
    progress.run(
      values.verifyDatabase,
      { ...job, swapped: expected },
      title,
      (found) => `${found.values} values under the key in force, none under another`,
    );
  await scan('Scan the database', swapped);
  await progress.run(
    service.watchServiceLog,
    { ...job, tolerate: plan.service.decryptionErrors > 0 },
    "Watch the service's log for decryption errors",
    ({ lines, errors, seconds }) =>
      lines === null
        ? 'no log can be read'
        : `${errors === 0 ? 'none' : `${errors}, as before,`} in ${lines} lines, ${seconds} s`,
  );
  await progress.run(proxy.removeCanary, job, 'Remove the canary model and its virtual key');
  // The canary's own values are gone: where nothing else was stored, there is nothing left to find.
  await scan('Scan the database again, for stragglers', Math.min(swapped, plan.database.values));
}

/** The end of a dry run, and the last step of a rotation. */
export async function release({ job, progress, undo: steps }: Rotation): Promise<void> {
  await progress.run(undo.releaseLease, job, 'Release the lease');
  steps.clear();
}

/** What follows the pivot: destroys the way back. */
export async function destroy({ job, progress }: Rotation): Promise<void> {
  await progress.run(undo.destroyPreviousKeys, job, 'Destroy the previous keys and the before-images');
}
