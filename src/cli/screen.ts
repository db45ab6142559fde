import type { RotationStatus, Step } from '../rotation/status.ts';
import { fit, renderPhase, renderRetry, renderStep, type Retry } from './rendering.ts';
import type { RunningNote } from './workflow-look.ts';

/** What a followed workflow shows on stderr: lines that stay, and on a terminal one line below them that changes. */
export function createScreen() {
  const live = process.stderr.isTTY;
  // A line that the terminal breaks would not be written over.
  const columns = () => process.stderr.columns || 80;
  let shown = 0;
  let phase = '';
  let noted = '';
  let told: Retry | null = null;
  const clear = () => {
    if (live) process.stderr.write('\r\u001B[K');
  };
  const line = (text: string) => {
    clear();
    process.stderr.write(`${text}\n`);
  };
  const enter = (step: Step) => {
    if (step.phase !== phase) line(renderPhase((phase = step.phase), process.stderr));
  };
  return {
    clear,
    note(text: string) {
      if (live && text.length + 2 < columns()) process.stderr.write(`\r\u001B[K  ${text}`);
      else if (text !== noted) line(`  ${text}`);
      noted = text;
    },
    show(status: RotationStatus, { note, retry }: RunningNote) {
      for (const step of status.steps.slice(shown)) {
        if (step.state === 'running') break;
        enter(step);
        line(renderStep(step, process.stderr));
        shown += 1;
      }
      const running = status.steps[shown];
      if (running !== undefined && retry !== null) {
        const known = retry.title === told?.title && retry.failure === told.failure;
        // On a terminal, the line that changes counts the attempts.
        if (!known || (!live && retry.attempt !== told?.attempt)) {
          enter(running);
          line(renderRetry({ ...retry, failure: known ? 'as before' : retry.failure }, process.stderr));
        }
      }
      told = retry;
      if (live) process.stderr.write(`\r\u001B[K${fit(`  ${note}`, columns())}`);
    },
  };
}
