import { VERSION } from '../version.ts';
import type { Field, Route } from './route.ts';

/** Codes any route may refuse with. */
const COMMON_REFUSALS: Readonly<Record<string, number>> = {
  bad_options: 400,
  bad_subject: 400,
  bad_body: 400,
  token_missing: 401,
  token_wrong: 401,
  host_not_allowed: 403,
  origin_not_allowed: 403,
  role_read: 403,
  not_found: 404,
  method_not_allowed: 405,
  body_too_large: 413,
  bad_media_type: 415,
  store_unavailable: 503,
};

/** The OpenAPI document of a table of routes. Pure. */
export function openApiOf(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    (paths[route.path] as Record<string, object>)[route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Perdure inspector', version: VERSION },
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Error: {
          type: 'object',
          required: ['error'],
          properties: {
            error: {
              type: 'object',
              required: ['code', 'message'],
              properties: {
                code: { type: 'string' },
                message: { type: 'string' },
                allowed: { type: 'array', items: { type: ['string', 'integer'] } },
              },
            },
          },
        },
      },
    },
  };
}

function operation(route: Route): object {
  const { method, path, role, about, query = {}, body, refuses = {} } = route;
  const byStatus = new Map<number, string[]>();
  for (const [code, status] of Object.entries({ ...COMMON_REFUSALS, ...refuses }))
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  return {
    operationId: `${method.toLowerCase()}${path.replace(/[^A-Za-z]+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    summary: about,
    'x-role': role,
    security: [{ token: [] }, {}],
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: { type: 'string' },
      })),
      ...Object.entries(query).map(([name, field]) => ({
        name,
        in: 'query',
        required: false,
        description: field.about,
        schema: schemaOf(field),
      })),
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: bodySchema(body) } },
      },
    }),
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema: {} } } },
      ...Object.fromEntries(
        [...byStatus]
          .sort(([a], [b]) => a - b)
          .map(([status, codes]) => [
            status,
            {
              description: codes.join(', '),
              content: {
                'application/json': { schema: { $ref: '#/components/schemas/Error' } },
              },
            },
          ]),
      ),
    },
  };
}

const bodySchema = (body: Readonly<Record<string, Field>>): object => ({
  type: 'object',
  additionalProperties: false,
  required: Object.keys(body).filter((name) => body[name]?.needed),
  properties: Object.fromEntries(
    Object.entries(body).map(([name, field]) => [
      name,
      { ...schemaOf(field), description: field.about },
    ]),
  ),
});

function schemaOf({ kind, oneOf, max }: Field): object {
  switch (kind) {
    case 'text':
      return { type: 'string', ...(oneOf && { enum: oneOf }) };
    case 'whole':
      return { type: 'integer', minimum: 0, ...(max !== undefined && { maximum: max }) };
    case 'yes':
      return { type: 'boolean' };
    case 'object':
      return { type: 'object' };
    case 'texts':
      return { type: 'array', items: { type: 'string' } };
  }
}
