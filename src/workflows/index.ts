export { InventoryValues } from './inventory-values.ts';
export { ReconcileRotation } from './reconcile-rotation.ts';
export { RotateMasterKey } from './rotate-master-key.ts';
