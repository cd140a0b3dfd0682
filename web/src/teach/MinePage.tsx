import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, get, put, remove } from "../api/client";
import type { Fault, Item, Judgement, Saved } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { MineItem } from "./MineItem";
import { RankEditor } from "./RankEditor";
import { WriteEditor } from "./WritePage";

interface Page {
  items: Item[];
  next: string | null;
}

/** All that this person said: to look at, change, withdraw. */
export function MinePage({ onSaved }: { onSaved: () => void }) {
  const t = useText();
  const [page, setPage] = useState<Page | null>(null);
  const [editing, setEditing] = useState<string | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);

  const [busy, once] = useBusy();
  const asked = useRef(0);

  const load = useCallback(async (before?: Page) => {
    const turn = ++asked.current;
    try {
      const found = await get<Page>(
        `/api/teach/mine${before?.next ? `?before=${encodeURIComponent(before.next)}` : ""}`,
      );
      if (turn !== asked.current) return;
      setPage({ items: [...(before?.items ?? []), ...found.items], next: found.next });
      setFault(null);
    } catch (error) {
      if (turn === asked.current) setFault(faultFrom(error));
    }
  }, []);
  useEffect(() => void load(), [load]);

  const act = (ask: () => Promise<Saved | void>) =>
    once(async () => {
      try {
        await ask();
        setEditing(null);
        await load();
        onSaved();
      } catch (error) {
        setFault(faultFrom(error));
      }
    });
  const save = (item: Item, judgement: Judgement) => void act(() => put<Saved>(`/api/teach/${item.id}`, judgement));

  return (
    <div className="stack">
      {fault && <FaultNotice fault={fault} onRetry={() => void load()} />}
      {page && !page.items.length && <p className="quiet">{t("mine.empty")}</p>}
      {page?.items.map((item) => (
        <section className="card stack" key={item.id}>
          {editing !== item.id ? (
            <MineItem
              item={item}
              onChange={() => setEditing(item.id)}
              busy={busy}
              onWithdraw={() => void act(() => remove(`/api/teach/${item.id}`))}
            />
          ) : (
            <>
              {item.kind === "rank" ? (
                <RankEditor item={item} busy={busy} onDraft={() => undefined} onSave={(said) => save(item, said)} />
              ) : (
                <WriteEditor
                  item={item}
                  busy={busy}
                  onDraft={() => undefined}
                  onSave={(text) => save(item, { text })}
                />
              )}
              <Button look="plain" onClick={() => setEditing(null)}>
                {t("cancel")}
              </Button>
            </>
          )}
        </section>
      ))}
      {page?.next && <Button onClick={() => void load(page)}>{t("more")}</Button>}
    </div>
  );
}
