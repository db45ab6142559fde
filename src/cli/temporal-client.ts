import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';
import { noNamespace, temporalSettings, unreachable } from '../temporal/connection.ts';

/** Borrows a Temporal client, with the settings of the `temporal` CLI. */
export async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const { connectionOptions, namespace } = temporalSettings(process.env);
  const connection = await connectForCommand(connectionOptions).catch(() => {
    throw unreachable(connectionOptions);
  });
  try {
    return await work(new Client({ connection, namespace }));
  } catch (error) {
    throw error instanceof NamespaceNotFoundError ? noNamespace(namespace) : error;
  } finally {
    await connection.close();
  }
}

/** A connection for the time of one command. */
export function connectForCommand(options: ConnectionOptions): Promise<Connection> {
  return Connection.connect({
    ...options,
    connectTimeout: '5s',
    // gRPC would ask for a TXT record, too, and where no name server answers, keep this process for half a minute.
    channelArgs: { 'grpc.service_config_disable_resolution': 1 },
  });
}
