import { type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { failureTypes, finalFailures } from '../rotation/failure.ts';

/*
 * One proxy for each way of failing, not for each module. Every group ends at once on the failures that no retry mends;
 * heartbeats come every two seconds, so that a killed worker is noticed in eight: with LiteLLM stopped, that is part of the outage.
 */
const heartbeatTimeout = '8 seconds';
const cancellationType = 'WAIT_CANCELLATION_COMPLETED';
const nonRetryableErrorTypes: string[] = [...finalFailures];

/** Looks: cheap to try again, for about a minute. */
const looking = {
  startToCloseTimeout: '30 seconds',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '500ms',
    maximumInterval: '10 seconds',
    maximumAttempts: 10,
    nonRetryableErrorTypes,
  },
} satisfies ActivityOptions;
export const looks = proxyActivities<Activities>(looking);

/** Work on the values of a database of any size. */
const working = {
  startToCloseTimeout: '6 hours',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '1 second',
    maximumInterval: '20 seconds',
    maximumAttempts: 10,
    nonRetryableErrorTypes,
  },
} satisfies ActivityOptions;
export const values = proxyActivities<Activities>(working);

/** The swap: behind the fence every second counts, so it gives up sooner and lets the service start again. */
export const swaps = proxyActivities<Activities>({
  startToCloseTimeout: '1 hour',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '1 second',
    maximumInterval: '5 seconds',
    maximumAttempts: 6,
    nonRetryableErrorTypes,
  },
});

/** Writes of keys and files: short, and each attempt looks at what is done already. */
const writing = {
  startToCloseTimeout: '1 minute',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '500ms',
    maximumInterval: '10 seconds',
    maximumAttempts: 6,
    nonRetryableErrorTypes,
  },
} satisfies ActivityOptions;
export const secrets = proxyActivities<Activities>(writing);

/**
 * The service. A start that failed in the service's own words is not tried again: systemd counts starts, and its limit
 * would take down what ran. What is tried again is an attempt whose worker was killed. A start of systemd's waits twice, a
 * spare LiteLLM three times, and each wait may be as long as the configuration lets it.
 */
export const service = proxyActivities<Activities>({
  startToCloseTimeout: '3 hours',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '1 second',
    maximumInterval: '20 seconds',
    maximumAttempts: 10,
    nonRetryableErrorTypes: [...nonRetryableErrorTypes, failureTypes.serviceFailed],
  },
});

/** The proxy over HTTP: it may be slow to come up, and is patient. */
export const proxy = proxyActivities<Activities>({
  startToCloseTimeout: '1 hour',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '1 second',
    maximumInterval: '10 seconds',
    maximumAttempts: 8,
    nonRetryableErrorTypes,
  },
});

/**
 * The same three where nothing is touched yet. A connection string that is wrong is refused at once; later on, somebody may
 * be changing a password, and giving up would cost more.
 */
const untouched = ({ retry, ...options }: typeof looking | typeof working | typeof writing) =>
  proxyActivities<Activities>({
    ...options,
    retry: {
      ...retry,
      nonRetryableErrorTypes: [...nonRetryableErrorTypes, failureTypes.databaseMisconfigured],
    },
  });
export const firstLooks = untouched(looking);
export const firstValues = untouched(working);
/** Of the lease, which nothing waits for: the next rotation takes it over. */
export const leaving = untouched(writing);

/** Compensations, and what follows the pivot: more patient, as giving up leaves work for a person. */
export const undo = proxyActivities<Activities>({
  startToCloseTimeout: '6 hours',
  heartbeatTimeout,
  cancellationType,
  retry: {
    initialInterval: '1 second',
    backoffCoefficient: 2,
    maximumInterval: '30 seconds',
    maximumAttempts: 10,
    nonRetryableErrorTypes,
  },
});
