import { useCallback, useSyncExternalStore } from "react";

// What this browser remembers for the page itself; nothing secret is kept here.
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Where storage is switched off the page works, and forgets when it is closed.
const chosen = new Map<string, string>();

function read(name: string): string | null {
  try {
    return chosen.get(name) ?? localStorage.getItem(`malmoi.${name}`);
  } catch {
    return null;
  }
}

/** A remembered choice, shared by all parts of the page. */
export function usePreference<T extends string>(name: string, preset: T): [T, (value: T) => void] {
  const value = useSyncExternalStore(subscribe, () => (read(name) as T | null) ?? preset);
  const set = useCallback(
    (next: T) => {
      chosen.set(name, next);
      try {
        localStorage.setItem(`malmoi.${name}`, next);
      } catch {
        // Kept in `chosen` alone.
      }
      listeners.forEach((listener) => listener());
    },
    [name],
  );
  return [value, set];
}
