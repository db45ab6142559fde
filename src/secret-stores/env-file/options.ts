import type { ReaderName } from './readers.ts';

/** One file that the service reads. */
export interface EnvFile {
  /** Absolute; a symlink is followed and kept. */
  readonly path: string;
  /** `keys`: holds the keys. `copies`: hard-coded copies of the keys found in it are removed. */
  readonly role: 'keys' | 'copies';
  readonly reader: ReaderName;
}

/**
 * Names of the variables that hold each key: the first is the one that LiteLLM reads, the others are copies that must
 * be equal to it.
 */
export interface KeyVariables {
  readonly master: readonly string[];
  readonly salt: readonly string[];
}

export interface EnvFileStoreOptions {
  /** In the order in which the service reads them. */
  readonly files: readonly EnvFile[];
  readonly names: KeyVariables;
  /**
   * Where the slot lives. Only a rotation's own directory: it is made 0700 and removed with the slot.
   * @default `.litellm-rotate` beside the real path of the first `keys` file
   */
  readonly slotDirectory?: string;
}
