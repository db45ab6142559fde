/** What preflight needs to know besides the definition. */
export interface ComposeContext {
  readonly service: string;
  readonly projectDirectory: string;
  /** `docker compose -f ...`: for the commands in `next`. */
  readonly compose: string;
  /** The files that the rotation writes, in the order in which they must be read; resolved. */
  readonly envFiles: readonly string[];
  readonly realPath: (path: string) => string;
  /** The names of the variables that hold the keys. */
  readonly variables: readonly string[];
  /** The name of a variable that the rotation adds beside the master key. */
  readonly added: string | undefined;
  /** Names of the variables that our configuration gives to compose. */
  readonly given: readonly string[];
  /** Of the container that runs, if one does. */
  readonly running: { readonly image: string } | undefined;
  /** Whether a plain `up` would replace that container. */
  readonly wouldRecreate: boolean;
  /** The digest that the definition's image name stands for now; undefined when the image is not there. */
  readonly image: string | undefined;
}
