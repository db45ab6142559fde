import { hostname } from 'node:os';
import { Client } from '@temporalio/client';
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { type Logger, pino } from 'pino';
import { createActivities } from './activities/index.ts';
import { compose } from './composition.ts';
import { readConfig } from './config/config.ts';
import { findConfig } from './config/location.ts';
import type { Config } from './config/schema.ts';
import { failureTypes, RotationError } from './rotation/failure.ts';
import { temporalSettings } from './temporal/connection.ts';
import { callFailed, unreachable } from './temporal/connection-error.ts';
import { createFailureInterceptor } from './temporal/failure-interceptor.ts';
import { temporalLogger } from './temporal/logger.ts';
import { watchForPeople } from './temporal/people-gauge.ts';
import { createRunningCheck } from './temporal/running.ts';
import { registerSearchAttributes } from './temporal/search-attributes.ts';
import { loadWorkflowBundle } from './temporal/workflow-bundle.ts';

/**
 * Runs the worker until SIGTERM or SIGINT: configuration, ports, activities, workflows, in that order. On a signal it
 * takes no new work and gives what runs ten seconds; what is cut off is taken up by the next worker.
 */
export async function runWorker(env: NodeJS.ProcessEnv, configPath: string | undefined): Promise<void> {
  const logger = createLogger();
  const path = findConfig(configPath, env);
  const config = readConfig(path);
  const runtime = installRuntime(config, logger);
  const settings = temporalSettings(env);
  const { connectionOptions, namespace } = settings;
  const connection = await NativeConnection.connect(connectionOptions).catch((error: unknown) => {
    throw unreachable(error, settings);
  });
  try {
    await registerSearchAttributes(connection, namespace).catch((error: unknown) => {
      throw callFailed(error, settings) ?? error;
    });
    const client = new Client({ connection, namespace });
    await using composition = compose(config, env, createRunningCheck(client));
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: config.taskQueue,
      identity: `litellm-rotate@${hostname()}:${process.pid}`,
      workflowBundle: await loadWorkflowBundle(),
      activities: createActivities(composition),
      interceptors: { activity: [(context) => createFailureInterceptor(context, logger)] },
      // A cancellation reaches an activity with the answer to a heartbeat: not only after 80 % of its timeout.
      maxHeartbeatThrottleInterval: '2 seconds',
      shutdownGraceTime: '10 seconds',
      // A rotation is one task at a time. Each poll that a frozen worker leaves open swallows one more attempt.
      // Not maxConcurrent...TaskPolls, which this SDK has in its types and nowhere else.
      activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 1 },
      workflowTaskPollerBehavior: { type: 'simple-maximum', maximum: 2 },
      // For as long a task of a workflow waits for the worker that had the last one, before any worker may take it.
      stickyQueueScheduleToStartTimeout: '2 seconds',
    });
    logger.info(
      { taskQueue: config.taskQueue, namespace, targets: Object.keys(config.targets), config: path },
      'worker ready',
    );
    const ended = new AbortController();
    const watching =
      config.metrics === undefined
        ? undefined
        : watchForPeople(client, runtime.metricMeter, Object.keys(config.targets), ended.signal);
    await worker.run().finally(() => ended.abort());
    await watching;
    logger.info('worker stopped');
  } finally {
    await connection.close();
  }
}

function installRuntime({ metrics }: Config, logger: Logger): Runtime {
  const bindAddress = metrics && `${metrics.host}:${metrics.port}`;
  try {
    return Runtime.install({
      logger: temporalLogger(logger),
      shutdownSignals: ['SIGINT', 'SIGTERM'],
      telemetryOptions: bindAddress === undefined ? {} : { metrics: { prometheus: { bindAddress } } },
    });
  } catch (error) {
    if (bindAddress === undefined) throw error;
    throw new RotationError(
      failureTypes.badRequest,
      `metrics: found that ${bindAddress} cannot be listened on (${error instanceof Error ? error.message : String(error)}); expected a free address of this host; change it, or leave it out for a worker without metrics`,
    );
  }
}

function createLogger(): Logger {
  return pino({
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
}
