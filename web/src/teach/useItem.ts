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
  const gone = useRef(false);
  const drafted = useRef<{ id: string; value: Draft } | null>(null);
  const drafting = useRef<Promise<unknown>>(Promise.resolve());
  const turns = useRef(0);
  const update = useCallback((change: Partial<ItemState>) => setState((before) => ({ ...before, ...change })), []);

  const next = useCallback(async () => {
    const turn = ++turns.current;
    setState((before) => ({ ...before, item: before.item ? undefined : before.item, fault: null, practice: null }));
    try {
      const { item } = await post<{ item: Item | null }>("/api/teach/next", { kind, lang });
      if (turn === turns.current) update({ item });
    } catch (error) {
      if (turn === turns.current) update({ fault: faultFrom(error) });
    }
  }, [kind, lang, update]);

  const sendDraft = useCallback(() => {
    clearTimeout(draft.current ?? undefined);
    const { current } = drafted;
    if (!current) return;
    drafted.current = null;
    const turn = turns.current;
    drafting.current = put(`/api/teach/${current.id}/draft`, current.value).catch(
      (error) => turn === turns.current && update({ fault: faultFrom(error) }),
    );
  }, [update]);

  /** What is said about an item comes after its draft, and without one that waits. */
  const withoutDraft = async () => {
    clearTimeout(draft.current ?? undefined);
    drafted.current = null;
    await drafting.current;
  };

  // Answers to rank are made in the meantime.
  const nothing = state.item === null;
  useEffect(() => {
    if (!nothing) return;
    const timer = setInterval(() => document.visibilityState === "visible" && void next(), LOOK_MS);
    return () => clearInterval(timer);
  }, [nothing, next]);

  useEffect(() => {
    gone.current = false;
    void next();
    // What is unsaved is sent again also after the page is left.
    return () => {
      gone.current = true;
      turns.current++;
      sendDraft();
    };
  }, [next, sendDraft]);

  const keepDraft = (id: string, value: Draft) => {
    clearTimeout(draft.current ?? undefined);
    drafted.current = { id, value };
    draft.current = setTimeout(sendDraft, DRAFT_MS);
  };

  const save = async (item: Item, judgement: Judgement): Promise<void> => {
    update({ busy: true, fault: null });
    await withoutDraft();
    try {
      const saved = await put<Saved>(`/api/teach/${item.id}`, judgement);
      update({ busy: false, unsaved: false, last: saved.item, practice: saved.practice });
      onSaved();
      if (!saved.practice && !gone.current) await next();
    } catch (error) {
      const fault = faultFrom(error);
      const passing = PASSING.has(fault.code);
      update({ busy: passing, unsaved: passing, fault: passing ? null : fault });
      if (passing) setTimeout(() => void save(item, judgement), AGAIN_MS);
    }
  };

  const skip = async (item: Item) => {
    update({ busy: true });
    await withoutDraft();
    try {
      await post(`/api/teach/${item.id}/skip`);
      update({ busy: false });
      await next();
    } catch (error) {
      update({ busy: false, fault: faultFrom(error) });
    }
  };

  /** Takes back what was said last, and opens it again as it was. */
  const undo = async (last: Item) => {
    update({ last: null });
    sendDraft();
    await drafting.current;
    try {
      await remove(`/api/teach/${last.id}`);
      turns.current++; // an item that is asked for just now comes later
      update({ item: last, practice: null, fault: null });
      onSaved();
    } catch (error) {
      update({ last, fault: faultFrom(error) });
    }
  };

  return { ...state, next, keepDraft, save, skip, undo };
}
