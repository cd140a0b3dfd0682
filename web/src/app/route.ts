import { useSyncExternalStore } from "react";
import type { MouseEvent } from "react";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** The parts of the address: `/chat/abc` gives `["chat", "abc"]`. */
export function useRoute(): string[] {
  return useSyncExternalStore(subscribe, () => location.pathname)
    .split("/")
    .filter(Boolean);
}

export function go(path: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", path);
  else history.replaceState(null, "", path);
  listeners.forEach((listener) => listener());
}

/** What a link inside the page needs: a plain click goes there without loading; other clicks are the browser's. */
export function linkTo(path: string): { href: string; onClick: (event: MouseEvent) => void } {
  return {
    href: path,
    onClick: (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      go(path);
    },
  };
}
