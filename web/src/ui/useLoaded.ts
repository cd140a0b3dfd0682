import { useCallback, useEffect, useState } from "react";
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

/** What an address of the server gives, asked for when shown and, with `everyMs`, again and again while it is seen. */
export function useLoaded<T>(path: string, everyMs?: number): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const load = useCallback(async () => {
    try {
      setValue(await get<T>(path));
      setFault(null);
    } catch (error) {
      setFault(faultFrom(error));
    }
  }, [path]);
  useEffect(() => {
    void load();
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void load(), everyMs);
    return () => clearInterval(timer);
  }, [load, everyMs]);
  return { value, fault, load, setValue, setFault };
}
