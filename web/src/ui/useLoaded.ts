import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, get } from "../api/client";
import type { Fault } from "../api/types";

interface Loaded<T> {
  value: T | null;
  fault: Fault | null;
  /** Ask again. */
  load: () => Promise<void>;
  setValue: (value: T) => void;
  setFault: (fault: Fault | null) => void;
}

/**
 * What an address of the server gives, asked for when shown and, with `everyMs`, again and again while it is seen.
 *
 * An answer that was overtaken, by a later one or by `setValue`, is dropped. `setFault` is for what else goes wrong: it is
 * shown until `load` is called, and not only until the address is asked again by itself.
 */
export function useLoaded<T>(path: string, everyMs?: number): Loaded<T> {
  const [value, setFound] = useState<T | null>(null);
  const [silent, setSilent] = useState<Fault | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const turns = useRef({ asked: 0, shown: 0 });
  const look = useCallback(async () => {
    const turn = ++turns.current.asked;
    const isLate = () => {
      if (turn < turns.current.shown) return true;
      turns.current.shown = turn;
      return false;
    };
    try {
      const found = await get<T>(path);
      if (isLate()) return;
      setFound(found);
      setSilent(null);
    } catch (error) {
      if (!isLate()) setSilent(faultFrom(error));
    }
  }, [path]);
  const load = useCallback(() => {
    setFault(null);
    return look();
  }, [look]);
  const setValue = useCallback((found: T) => {
    turns.current.shown = ++turns.current.asked;
    setFound(found);
  }, []);
  const setAnyFault = useCallback((found: Fault | null) => {
    setFault(found);
    if (!found) setSilent(null);
  }, []);
  useEffect(() => {
    void look();
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void look(), everyMs);
    return () => clearInterval(timer);
  }, [look, everyMs]);
  return { value, fault: fault ?? silent, load, setValue, setFault: setAnyFault };
}
