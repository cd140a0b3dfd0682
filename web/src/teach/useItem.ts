import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, post, put, remove } from "../api/client";
import { useLanguage } from "../text";
import type { Draft, Fault, Item, Judgement, Saved } from "../api/types";

const DRAFT_MS = 800;
const AGAIN_MS = 3000;
const LOOK_MS = 10_000;
const PASSING = new Set(["offline", "storage", "busy"]);

export interface ItemState {
  /** undefined: being asked for; null: nothing waits. */
  item: Item | null | undefined;
  fault: Fault | null;
  busy: boolean;
  /** Said, and not with the server yet: it is sent again until it is. */
  unsaved: boolean;
  /** What was saved last and can be undone. */
  last: Item | null;
  practice: Saved["practice"];
}

const BEGIN: ItemState = { item: undefined, fault: null, busy: false, unsaved: false, last: null, practice: null };

/** One item of Teach after the other: the next one, its draft, what was said about it. */
export function useItem(kind: Item["kind"], onSaved: () => void) {
  const [state, setState] = useState(BEGIN);
  const [lang] = useLanguage();
  const draft = useRef<ReturnType<typeof setTimeout> | null>(null);
  const again = useRef<ReturnType<typeof setTimeout> | null>(null);
  const update = useCallback((change: Partial<ItemState>) => setState((before) => ({ ...before, ...change })), []);

  const next = useCallback(async () => {
    setState((before) => ({ ...before, item: before.item ? undefined : before.item, fault: null, practice: null }));
    try {
      update({ item: (await post<{ item: Item | null }>("/api/teach/next", { kind, lang })).item });
    } catch (error) {
      update({ fault: faultFrom(error) });
    }
  }, [kind, lang, update]);

  // Answers to rank are made in the meantime.
  const nothing = state.item === null;
  useEffect(() => {
    if (!nothing) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void next(), LOOK_MS);
    return () => clearInterval(timer);
  }, [nothing, next]);

  useEffect(() => {
    void next();
    return () => {
      clearTimeout(draft.current ?? undefined);
      clearTimeout(again.current ?? undefined);
    };
  }, [next]);

  const keepDraft = (id: string, value: Draft) => {
    clearTimeout(draft.current ?? undefined);
    const keep = () => put(`/api/teach/${id}/draft`, value).catch((error) => update({ fault: faultFrom(error) }));
    draft.current = setTimeout(() => void keep(), DRAFT_MS);
  };

  const save = async (item: Item, judgement: Judgement): Promise<void> => {
    clearTimeout(draft.current ?? undefined);
    update({ busy: true, fault: null });
    try {
      const saved = await put<Saved>(`/api/teach/${item.id}`, judgement);
      update({ busy: false, unsaved: false, last: saved.item, practice: saved.practice });
      onSaved();
      if (!saved.practice) await next();
    } catch (error) {
      const fault = faultFrom(error);
      const passing = PASSING.has(fault.code);
      update({ busy: passing, unsaved: passing, fault: passing ? null : fault });
      if (passing) again.current = setTimeout(() => void save(item, judgement), AGAIN_MS);
    }
  };

  const skip = async (item: Item) => {
    try {
      await post(`/api/teach/${item.id}/skip`);
      await next();
    } catch (error) {
      update({ fault: faultFrom(error) });
    }
  };

  /** Takes back what was said last, and opens it again as it was. */
  const undo = async (last: Item) => {
    try {
      await remove(`/api/teach/${last.id}`);
      update({ item: last, last: null, practice: null, fault: null });
      onSaved();
    } catch (error) {
      update({ fault: faultFrom(error) });
    }
  };

  return { ...state, next, keepDraft, save, skip, undo };
}
