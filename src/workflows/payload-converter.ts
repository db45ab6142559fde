import { defaultPayloadConverter, type Payload, type PayloadConverter } from '@temporalio/common';

/**
 * Reads what the workflows are given. An input that is not JSON, or that says it is something else, arrives as its bytes,
 * so that the workflow can refuse it: a converter that throws fails the workflow *task*, which Temporal tries again for ever.
 */
export const payloadConverter: PayloadConverter = {
  toPayload: (value) => defaultPayloadConverter.toPayload(value),
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the interface's own
  fromPayload<T>(payload: Payload): T {
    try {
      return defaultPayloadConverter.fromPayload<T>(payload);
    } catch {
      // Of this context, so that `instanceof` holds.
      return new Uint8Array(payload.data ?? []) as T;
    }
  },
};
