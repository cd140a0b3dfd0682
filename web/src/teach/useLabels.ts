import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, get, post, put, remove } from "../api/client";
import type { Fault, LabelInput, LabelState, PageLabel, PageToLabel } from "../api/types";

const AGAIN_MS = 3000;
const LOOK_MS = 10_000;
const PASSING = new Set(["offline", "storage", "busy"]);

interface Said {
  label: PageLabel;
  active_ms: number;
  input: LabelInput;
}

/** One page of a corpus after the other, and what was said of it. `corpus`: a name, "" for the latest. */
export function useLabels(corpus: string) {
  /** undefined: being asked for; null: nothing waits. */
  const [page, setPage] = useState<PageToLabel | null | undefined>(undefined);
  const [state, setState] = useState<LabelState | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [unsaved, setUnsaved] = useState(false);
  const [busy, setBusy] = useState(false);
  const under = useRef(false);
  const turns = useRef(0);

  const look = useCallback(async () => {
    const turn = ++turns.current;
    try {
      const { page: found } = await post<{ page: PageToLabel | null }>("/api/teach/labels/next", { corpus });
      const about = await get<LabelState>(`/api/teach/labels?corpus=${encodeURIComponent(corpus)}`);
      if (turn !== turns.current) return;
      setPage(found);
      setState(about);
      setFault(null);
    } catch (error) {
      if (turn === turns.current) setFault(faultFrom(error));
    }
  }, [corpus]);
  useEffect(() => {
    setPage(undefined);
    void look();
    return () => void turns.current++;
  }, [look]);

  // A page that somebody could not tell, or left, comes later.
  const nothing = page === null;
  useEffect(() => {
    if (!nothing) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void look(), LOOK_MS);
    return () => clearInterval(timer);
  }, [nothing, look]);

  /** One request at a time: of two quick presses the second says nothing of the next page unseen. */
  const once = async (work: () => Promise<void>) => {
    if (under.current) return;
    under.current = true;
    setBusy(true);
    try {
      await work();
    } catch (error) {
      setFault(faultFrom(error));
    }
    under.current = false;
    setBusy(false);
  };

  const say = (of: PageToLabel, said: Said) =>
    once(async () => {
      for (;;) {
        try {
          await put(`/api/teach/labels/${of.id}`, said);
          break;
        } catch (error) {
          const found = faultFrom(error);
          if (!PASSING.has(found.code)) throw error;
          setUnsaved(true);
          await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
      }
      setUnsaved(false);
      await look();
    });

  /** Takes back what was said of a page, and asks about it again. */
  const undo = (id: string) =>
    once(async () => {
      turns.current++;
      const { page: found } = await remove<{ page: PageToLabel }>(`/api/teach/labels/${id}`);
      setPage(found);
      setFault(null);
      setState(await get<LabelState>(`/api/teach/labels?corpus=${encodeURIComponent(corpus)}`));
    });

  return { page, state, fault, busy, unsaved, look, say, undo };
}
