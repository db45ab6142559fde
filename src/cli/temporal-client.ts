import { Client, Connection } from '@temporalio/client';
import { temporalSettings, unreachable } from '../temporal/connection.ts';

/** Borrows a Temporal client, with the settings of the `temporal` CLI. */
export async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const { connectionOptions, namespace } = temporalSettings(process.env);
  const connection = await Connection.connect({ ...connectionOptions, connectTimeout: '5s' }).catch(() => {
    throw unreachable(connectionOptions.address);
  });
  try {
    return await work(new Client({ connection, namespace }));
  } finally {
    await connection.close();
  }
}
