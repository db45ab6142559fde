import type { Secret } from '../rotation/secret.ts';

export interface ProxyOptions {
  /** One replica's own address, such as `http://127.0.0.1:4000`; a path is kept in front of every request's. */
  readonly url: string;
  /** How long one request may take. @default 15000 */
  readonly timeoutMs?: number;
  /** For proxies whose routes were renamed. */
  readonly paths?: Partial<ProxyPaths>;
}

export interface ProxyPaths {
  /** @default `/health/liveliness` */
  readonly liveness: string;
  /** @default `/health/readiness` */
  readonly readiness: string;
  /** A cheap route that every valid key may call and no other. @default `/v1/models` */
  readonly authenticated: string;
}

/** A model to store in LiteLLM's database. */
export interface NewModel {
  /** Chosen by the caller, so that a second `addModel` is the first one again. */
  readonly id: string;
  /** Under which callers ask for it. */
  readonly name: string;
  /** LiteLLM's provider and model, such as `openai/gpt-5`. */
  readonly provider: string;
  readonly apiKey: Secret;
  readonly apiBase: string;
}

export interface NewVirtualKey {
  /** Chosen by the caller, so that a second `generateKey` is the first one again. Must start with `sk-`. */
  readonly key: Secret;
  readonly alias: string;
  /** The names of the models that it may call. */
  readonly models: readonly string[];
  /** LiteLLM's notation, such as `24h`. @default for ever */
  readonly duration?: string;
}

export interface LoadedModel {
  readonly id: string;
  readonly name: string;
  readonly apiBase: string | undefined;
}

/**
 * One LiteLLM replica. Errors are `RotationError`s: `WrongKey` when it refuses the key, else `ProxyFailed`; they name
 * the method, the path without its query and the status, never a key, and never the answer's text, which echoes parts
 * of keys. Sockets are closed after each answer, so that none keeps a stopped service's port in use.
 */
export interface Proxy {
  /** For people; has no user info. */
  readonly url: string;
  /** Notes where its name leads, before it is stopped: afterwards, a name server may take long to say that it leads nowhere. */
  locate(): Promise<void>;
  /** Whether anything accepts connections on its port, where its name leads or led when it was located. */
  isListening(): Promise<boolean>;
  /** Whether the process answers at all. Never throws. */
  liveness(): Promise<boolean>;
  /** Whether it serves and has its database. Says nothing about its keys: it never tries to decrypt. Never throws. */
  readiness(): Promise<{ readonly ready: boolean; readonly detail: string }>;
  /** What an authenticated request with the key gets. */
  tryKey(key: Secret): Promise<'accepted' | 'refused' | { readonly status: number }>;
  /** The ids of the models that the key may call, sorted. LiteLLM leaves out a model whose credential does not open. */
  models(key: Secret): Promise<string[]>;
  /** The models that the replica has loaded, from its database or its configuration. Wants the master key. */
  modelInfo(key: Secret): Promise<LoadedModel[]>;
  /** Stores a model, and loads it in this replica. Does nothing when the id is loaded already. */
  addModel(key: Secret, model: NewModel): Promise<void>;
  /** Deletes a stored model, loaded or not; does nothing when there is none of that id. */
  deleteModel(key: Secret, id: string): Promise<void>;
  /** Stores a virtual key; does nothing when it is stored already. */
  generateKey(key: Secret, virtualKey: NewVirtualKey): Promise<void>;
  /** Deletes a virtual key; does nothing when there is none. LiteLLM keeps a row in `LiteLLM_DeletedVerificationToken`. */
  deleteKey(key: Secret, virtualKey: Secret): Promise<void>;
  /** Asks a model for an answer of one token; resolves when its provider gave one, not LiteLLM's cache of responses. */
  chat(key: Secret, model: string): Promise<void>;
}
