/** One request that stores something. */
export interface SeedRequest {
  readonly name: string;
  readonly method: 'POST' | 'PATCH';
  readonly path: string;
  readonly body: unknown;
  /** Who asks. @default the master key */
  readonly as?: string;
}

export interface SeedInput {
  /** The proxy's own URL; it is stored as the SSO base URL. */
  readonly url: string;
  /** The base URL of an OpenAI-like provider that two of the models call. */
  readonly providerUrl: string;
  /** The virtual keys to make. LiteLLM takes a caller's own when it starts with `sk-` and has at least 16 characters. */
  readonly keys: {
    readonly virtual: string;
    readonly logging: string;
    readonly doomed: string;
    readonly user: string;
  };
  /** Makes a plaintext that is to be found sealed in the database. */
  readonly secret: (label: string) => string;
  /** Makes a plaintext of a field that LiteLLM 1.106 leaves in clear. */
  readonly clear: (label: string) => string;
}

/** A port that nobody listens on. */
export const nowhere = 'http://127.0.0.1:9';

/** A POST, by the master key unless another key is named. */
export const post = (name: string, path: string, body: unknown, as?: string): SeedRequest => ({
  name,
  method: 'POST',
  path,
  body,
  ...(as === undefined ? {} : { as }),
});
