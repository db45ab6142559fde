import { RotationError, failureTypes } from '../rotation/failure.ts';
import { readProjectName } from './compose-definition.ts';
import type { ComposeLook } from './compose-state.ts';
import type { Container, DockerEngine } from './docker-engine.ts';
import { succeeded } from './host.ts';

export interface ComposeProjectOptions {
  readonly projectDirectory: string;
  readonly files?: readonly string[];
  readonly projectName?: string;
  readonly service: string;
}

/** A compose project, asked about one of its services. */
export interface ComposeProject {
  /** `compose`, with the options that name the project: what every `docker` command about it begins with. */
  readonly args: readonly string[];
  /** The same as a person types it. */
  readonly command: string;
  readonly look: () => Promise<ComposeLook>;
  /** Whether compose itself would make the container anew: its definition, an env file or its image is not the same. */
  readonly wouldRecreate: () => Promise<boolean>;
  /** The digest that an image's name stands for now; undefined when the image is not there. */
  readonly imageId: (image: string) => Promise<string | undefined>;
  readonly failure: (message: string, container?: Container) => RotationError;
}

export const readMs = 30_000;

/** How a container is brought up: neither a pull nor a build, as a rotation brings up new keys, not another LiteLLM. */
export const upOptions = ['--detach', '--no-deps', '--no-build', '--pull', 'never'] as const;

export function createComposeProject(options: ComposeProjectOptions, engine: DockerEngine): ComposeProject {
  const { service, projectDirectory } = options;
  const args = [
    'compose',
    ...(options.files ?? []).flatMap((file) => ['--file', file]),
    ...(options.projectName === undefined ? [] : ['--project-name', options.projectName]),
  ];
  const command = ['docker', ...args].join(' ');
  let project = options.projectName;

  const failure: ComposeProject['failure'] = (message, container) =>
    new RotationError(failureTypes.serviceFailed, message, {
      ...(container && { facts: { instance: container.id } }),
    });

  const projectName = async (): Promise<string> => {
    if (project !== undefined) return project;
    project = await readProjectName(engine, args);
    if (project === undefined) {
      throw failure(
        `docker compose cannot read the definition in ${projectDirectory}; expected a valid compose file; ` +
          `\`${command} config --quiet\` in that directory says why`,
      );
    }
    return project;
  };

  return {
    args,
    command,
    failure,

    async look() {
      const all = await engine.containers(await projectName(), service);
      return {
        containers: all.filter(({ isOneOff }) => !isOneOff),
        oneOffs: all.filter(({ isOneOff }) => isOneOff),
      };
    },

    async wouldRecreate() {
      const outcome = await engine.run([...args, 'up', '--dry-run', ...upOptions, service], readMs);
      return succeeded(outcome) && /^.* Container \S+ +Recreate/m.test(outcome.stdout + outcome.stderr);
    },

    async imageId(image) {
      const outcome = await engine.run(['image', 'inspect', '--format', '{{.Id}}', image], readMs);
      return succeeded(outcome) ? outcome.stdout.trim() : undefined;
    },
  };
}
