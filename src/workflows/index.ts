export { InventoryValues } from './inventory-values.ts';
export { ReconcileRotation } from './reconcile-rotation.ts';
export { ReencryptValues } from './reencrypt-values.ts';
export { RotateMasterKey } from './rotate-master-key.ts';
