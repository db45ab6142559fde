import { join } from 'node:path';
import type { Finding } from '../rotation/finding.ts';
import { environmentFindings } from './compose-environment-findings.ts';
import { envFileFindings } from './env-file-findings.ts';
import type { ComposeContext } from './compose-context.ts';
import type { ComposeDefinition, ComposeService } from './compose-definition.ts';

/** What stands in the way of a rotation through this compose service. */
export function composeFindings(definition: ComposeDefinition, context: ComposeContext): Finding[] {
  const { service: name, compose } = context;
  if (definition === 'compose too old') {
    return [
      {
        severity: 'blocking',
        code: 'compose-too-old',
        where: name,
        found: 'a docker compose without `config --no-env-resolution`',
        expected: 'one that shows which env files a service reads, as 2.40 does',
        next: 'upgrade the compose plugin',
      },
    ];
  }
  if (definition === 'invalid') {
    return [
      {
        severity: 'blocking',
        code: 'compose-file-invalid',
        where: context.projectDirectory,
        found: 'that docker compose cannot read the definition',
        expected: 'a valid compose file',
        next: `\`${compose} config --quiet\` in that directory says why`,
      },
    ];
  }
  if (definition.service === undefined) {
    return [
      {
        severity: 'blocking',
        code: 'compose-service-unknown',
        where: name,
        found: `the services ${definition.services.join(', ') || 'none'}`,
        expected: `${name} among them`,
        next: 'correct the service name in the configuration',
      },
    ];
  }
  return [
    ...filesFindings(definition.service, context),
    ...environmentFindings(definition.service, context),
    ...recreateFindings(definition.service, context),
  ];
}

function filesFindings(service: ComposeService, context: ComposeContext): Finding[] {
  const { realPath, projectDirectory, variables, envFiles } = context;
  // Compose reads it for `${...}`, whether or not it is an env_file.
  const dotenv = realPath(join(projectDirectory, '.env'));
  const isInterpolated = variables.some((variable) => service.environment.get(variable) === 'interpolated');
  return envFileFindings({
    where: context.service,
    setting: 'env_file:',
    read: service.envFiles.map(({ path, required }) => ({ path, optional: !required })),
    written: envFiles,
    otherwiseRead: isInterpolated ? envFiles.filter((path) => realPath(path) === dotenv) : [],
    realPath,
    add: (path) => `add ${path} under env_file: of ${context.service} in the compose file`,
    require: 'take `required: false` away in the compose file',
  });
}

function recreateFindings(service: ComposeService, context: ComposeContext): Finding[] {
  const { service: name, compose, running, wouldRecreate, image } = context;
  const findings: Finding[] = [];
  if (service.replicas !== 1) {
    findings.push({
      severity: 'blocking',
      code: 'compose-replicas',
      where: name,
      found: `${service.replicas} replicas`,
      expected: 'one: several are not supported yet',
      next: `set the replicas of ${name} to 1 for the time of the rotation`,
    });
  }
  if (image === undefined) {
    findings.push({
      severity: 'blocking',
      code: 'compose-image-missing',
      where: name,
      found: `no image ${service.image ?? 'name'} on this engine`,
      expected: 'that the image is there, because a rotation neither pulls nor builds',
      next: `\`${compose} pull ${name}\` (or build), and restart the service with it first`,
    });
  } else if (running !== undefined && running.image !== image) {
    findings.push({
      severity: 'warning',
      code: 'compose-image-moved',
      where: name,
      found: `that ${service.image} now stands for another image than the one that runs`,
      expected: 'that the restart changes the keys only',
      next: `\`${compose} up -d ${name}\` first, or accept that the rotation brings the other version up`,
    });
  } else if (wouldRecreate) {
    findings.push({
      severity: 'warning',
      code: 'compose-definition-changed',
      where: name,
      found: 'that the definition or an env file has changed since the container was made',
      expected: 'that the restart changes the keys only',
      next: `\`${compose} up -d ${name}\` first, or accept that the rotation applies the change`,
    });
  }
  if (service.restart === 'always') {
    findings.push({
      severity: 'note',
      code: 'compose-restart-always',
      where: name,
      found: 'restart: always, with which a restart of the docker daemon starts a stopped container',
      expected: 'restart: unless-stopped',
      next: 'do not restart the docker daemon during the rotation',
    });
  }
  if (!service.hasHealthcheck) {
    findings.push({
      severity: 'note',
      code: 'compose-healthcheck-missing',
      where: name,
      found: 'no healthcheck in the compose file',
      expected: 'one on /health/readiness; without it, docker calls any process running',
      next: 'nothing; the rotation asks the proxy itself',
    });
  }
  return findings;
}
