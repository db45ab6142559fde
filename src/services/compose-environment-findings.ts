import { join } from 'node:path';
import type { Finding } from '../rotation/finding.ts';
import type { ComposeContext } from './compose-context.ts';
import type { ComposeService } from './compose-definition.ts';

/** Whether the service's variables reach its container as the files that the rotation writes have them. */
export function environmentFindings(service: ComposeService, context: ComposeContext): Finding[] {
  const { environment, unsetVariables } = service;
  const { service: name, envFiles, realPath, projectDirectory, variables } = context;
  const hasDotenv = envFiles.map(realPath).includes(realPath(join(projectDirectory, '.env')));
  const findings = variables.flatMap((variable): Finding[] => {
    const origin = environment.get(variable);
    if (origin === undefined || (origin === 'interpolated' && hasDotenv)) return [];
    return [
      {
        severity: 'blocking',
        code: 'key-in-compose-file',
        where: name,
        found: `environment: with ${variable}${origin === 'literal' ? '' : ' from a ${...}'}, which beats every env_file`,
        expected: 'the key in a file that the rotation writes',
        next:
          origin === 'literal'
            ? `take ${variable} out of environment: and put it in a file under env_file:`
            : `take ${variable} out of environment:, or list ${join(projectDirectory, '.env')} in the files of this target, with reader: docker-compose`,
      },
    ];
  });
  for (const variable of variables.filter((key) => context.given.includes(key))) {
    findings.push({
      severity: 'blocking',
      code: 'key-in-configuration',
      where: name,
      found: `${variable} in the environment of this service in the configuration, where it beats .env`,
      expected: 'the key in the secret store only',
      next: `take ${variable} out of the configuration`,
    });
  }
  if (unsetVariables.length > 0) {
    findings.push({
      severity: 'blocking',
      code: 'compose-variable-unset',
      where: name,
      found: `no value for ${unsetVariables.join(', ')}, which would be empty in the new container`,
      expected: 'the values that the running container was made with',
      next: `define them in ${join(projectDirectory, '.env')}, or in the environment of this service in the configuration`,
    });
  }
  return [...findings, ...addedFindings(service, context)];
}

/** Through `${...}`, a .env file hands over the variables that are named in the compose file, and no other. */
function addedFindings({ environment, envFiles }: ComposeService, context: ComposeContext): Finding[] {
  const { service: name, added, realPath, projectDirectory, variables } = context;
  if (added === undefined || environment.has(added)) return [];
  const path = join(projectDirectory, '.env');
  const isDotenv = (file: string): boolean => realPath(file) === realPath(path);
  const isInterpolated = variables.some((variable) => environment.get(variable) === 'interpolated');
  const isReadWhole = envFiles.some((file) => isDotenv(file.path));
  if (!context.envFiles.some(isDotenv) || !isInterpolated || isReadWhole) return [];
  return [
    {
      severity: 'blocking',
      code: 'key-not-handed-over',
      where: name,
      found: `no ${added} under environment:, so that the one which the rotation adds to ${path} would not reach the new container`,
      expected: `${added} handed over: LiteLLM could not open its database without it`,
      // An empty salt key counts as one, and everybody can compute what is sealed with it.
      next: `add ${path} under env_file: of ${name}, or the name ${added} alone under environment: (not \${${added}:-}, which hands over an empty one until then); or rotate the master key only`,
    },
  ];
}
