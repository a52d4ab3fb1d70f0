/** The inspect server, in this process. */
export interface Inspector {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the inspect server when this build has one; its URL is '' otherwise. */
export async function startInspector(options: {
  databaseUrl: string;
  namespace: string;
}): Promise<Inspector> {
  // The extension is that of this file: .ts in a checkout, .js when published.
  const specifier = import.meta.url.replace(/dev\/inspector\.(\w+)$/, 'inspect/server.$1');
  try {
    const server = (await import(specifier)) as {
      startInspectServer(options: { databaseUrl: string; namespace: string }): Promise<Inspector>;
    };
    return await server.startInspectServer(options);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return { url: '', close: async () => {} };
  }
}
