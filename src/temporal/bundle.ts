import { loadWorkflowBundle } from './workflow-bundle.ts';

// The last step of `npm run build`: the first start of an installed worker finds its bundle, even where it may not write.
await loadWorkflowBundle();
