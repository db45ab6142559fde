import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';
import { temporalSettings } from '../temporal/connection.ts';
import { callFailed, noNamespace, unreachable } from '../temporal/connection-error.ts';

/** Borrows a Temporal client, with the settings of the `temporal` CLI. */
export async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const settings = temporalSettings(process.env);
  const { connectionOptions, namespace } = settings;
  const connection = await connect(connectionOptions).catch((error: unknown) => {
    throw unreachable(error, settings);
  });
  try {
    return await work(new Client({ connection, namespace }));
  } catch (error) {
    if (error instanceof NamespaceNotFoundError) throw noNamespace(namespace);
    throw callFailed(error, settings) ?? error;
  } finally {
    await connection.close();
  }
}

/** A connection for the time of one command. */
function connect(options: ConnectionOptions): Promise<Connection> {
  return Connection.connect({
    ...options,
    connectTimeout: '5s',
    // gRPC would ask for a TXT record, too, and where no name server answers, keep this process for half a minute.
    channelArgs: { 'grpc.service_config_disable_resolution': 1 },
  });
}
