import { useEffect, useState } from 'preact/hooks';

/** Where the page is: what stands behind `#`, so that any view has an address that can be shared. */
export interface Place {
  parts: string[];
  params: URLSearchParams;
}

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decoded);
  return { parts, params: new URLSearchParams(query) };
}

/** Who mistypes an address is told that there is nothing of that name. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function usePlace(): Place {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const changed = () => setPlace(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return place;
}

/** The address of a view. */
export function hrefOf(
  parts: readonly string[],
  params: Record<string, string | undefined> = {},
): string {
  const given = Object.entries(params).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
  );
  const query = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
  return `#/${parts.map(encodeURIComponent).join('/')}${query}`;
}

/** The address of what is shown already, to be shared or to be back at after a reload; nothing is shown anew for it. */
export function stayAt(
  parts: readonly string[],
  params?: Record<string, string | undefined>,
): void {
  history.replaceState(null, '', hrefOf(parts, params));
}

export function go(parts: readonly string[], params?: Record<string, string | undefined>): void {
  location.hash = hrefOf(parts, params);
}
