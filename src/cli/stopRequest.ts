/**
 * Aborts at the first SIGTERM, SIGINT or SIGHUP, or when the program that started us with a channel is gone, however it
 * ended. `again` is called at each signal after that.
 */
export function stopRequest(again: () => void): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) again();
    else controller.abort();
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
  process.once('disconnect', () => controller.abort());
  return controller.signal;
}
