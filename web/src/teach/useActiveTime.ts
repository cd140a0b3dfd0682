import { useEffect, useRef } from "react";

/** Milliseconds since the component came up in which its page was seen. */
export function useActiveTime(): () => number {
  const state = useRef({ total: 0, since: null as number | null });
  useEffect(() => {
    const { current } = state;
    const change = () => {
      const now = performance.now();
      if (current.since !== null) current.total += now - current.since;
      current.since = document.visibilityState === "visible" ? now : null;
    };
    change();
    document.addEventListener("visibilitychange", change);
    return () => {
      document.removeEventListener("visibilitychange", change);
      current.since = null;
    };
  }, []);
  return () => {
    const { total, since } = state.current;
    return Math.round(total + (since === null ? 0 : performance.now() - since));
  };
}
