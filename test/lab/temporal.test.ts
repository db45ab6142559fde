import { Client, Connection } from '@temporalio/client';
import { expect, test } from 'vitest';
import { startTemporal } from '../../lab/temporal.ts';

test(
  'starts a dev server with its UI and the search attributes asked for',
  { timeout: 600_000 },
  async () => {
    const temporal = await startTemporal({ searchAttributes: { RotationPhase: 'Keyword' } });
    try {
      const connection = await Connection.connect({ address: temporal.address });
      const { customAttributes } = await connection.operatorService.listSearchAttributes({
        namespace: temporal.namespace,
      });
      expect(customAttributes).toHaveProperty('RotationPhase');
      const client = new Client({ connection });
      const handle = await client.workflow.start('nobody', { taskQueue: 'none', workflowId: 'w' });
      expect((await handle.describe()).status.name).toBe('RUNNING');
      await connection.close();
      expect((await fetch(temporal.uiUrl)).status).toBe(200);
    } finally {
      await temporal.stop();
    }
  },
);
