/** Why something failed, as one line; what nobody here can read is shown as it is recorded. */
export function reasonText(error: unknown): string {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return typeof message === 'string' ? `${name}: ${message}` : JSON.stringify(error);
}
