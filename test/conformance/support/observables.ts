/** Observables as XState takes them, without a library. */
interface Observer {
  next?: (value: never) => void;
  error?: (error: unknown) => void;
  complete?: () => void;
}

/** Says all of `list` when it is subscribed to, and then that it is over. */
export const values = (list: readonly unknown[]) => ({
  subscribe(observer: Observer) {
    for (const value of list) observer.next?.(value as never);
    observer.complete?.();
    return { unsubscribe() {} };
  },
});

/** Says all of `list`, and then fails. */
export const broken = (list: readonly unknown[], message: string) => ({
  subscribe(observer: Observer) {
    for (const value of list) observer.next?.(value as never);
    observer.error?.(new Error(message));
    return { unsubscribe() {} };
  },
});

export const silent = { subscribe: () => ({ unsubscribe() {} }) };
