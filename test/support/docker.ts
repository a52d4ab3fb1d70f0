import { PerdureError } from '../../src/errors.ts';

/** Postgres and NATS in containers, for `PERDURE_TEST_SERVICES=docker`. */
export async function startDockerServices() {
  const { GenericContainer, Wait } = await import('testcontainers');
  const started: { stop(): Promise<unknown> }[] = [];
  const stop = async () => {
    await Promise.all(started.map((container) => container.stop()));
  };
  try {
    const postgres = await new GenericContainer('postgres:18')
      .withEnvironment({
        POSTGRES_USER: 'perdure',
        POSTGRES_PASSWORD: 'perdure',
        POSTGRES_DB: 'perdure',
      })
      .withCommand(['postgres', '-c', 'max_connections=200'])
      .withExposedPorts(5432)
      // The image starts the server twice: once to make the database.
      .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
      .start();
    started.push(postgres);
    const nats = await new GenericContainer('nats:2')
      .withCommand(['--config', '/etc/nats/perdure.conf'])
      .withCopyContentToContainer([
        {
          content:
            'listen: 0.0.0.0:4222\nhttp: 0.0.0.0:8222\njetstream { store_dir: /tmp/jetstream, sync_interval: always }\n',
          target: '/etc/nats/perdure.conf',
        },
      ])
      .withExposedPorts(4222, 8222)
      .withWaitStrategy(Wait.forHttp('/healthz', 8222))
      .start();
    started.push(nats);
    return {
      databaseUrl: `postgres://perdure:perdure@${postgres.getHost()}:${postgres.getMappedPort(5432)}/perdure`,
      natsUrl: `nats://${nats.getHost()}:${nats.getMappedPort(4222)}`,
      stop,
    };
  } catch (error) {
    await stop();
    throw new PerdureError(
      'service_missing',
      `PERDURE_TEST_SERVICES=docker needs a Docker daemon that works: ${error instanceof Error ? error.message : error}`,
      { cause: error },
    );
  }
}
