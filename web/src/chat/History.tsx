import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, get } from "../api/client";
import type { Chat, Fault } from "../api/types";
import { linkTo, useRoute } from "../app/route";
import { useStatus } from "../app/session";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { Icon } from "../ui/Icon";
import { onChatsChanged } from "./changes";
import { HistoryItem } from "./HistoryItem";
import { Portability } from "./Portability";

const TYPING_MS = 250;

interface Page {
  chats: Chat[];
  next: string | null;
}

/** All chats of this person, newest first, with a search through what was said in them. */
export function History() {
  const t = useText();
  const [, current] = useRoute();
  const [search, setSearch] = useState("");
  const [page, setPage] = useState<Page | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const field = useRef<HTMLInputElement>(null);
  const asked = useRef(0);

  const load = useCallback(
    async (before?: Page) => {
      const turn = ++asked.current;
      const query = new URLSearchParams({ search, ...(before?.next ? { before: before.next } : {}) });
      try {
        const found = await get<Page>(`/api/chats?${query}`);
        if (turn !== asked.current) return;
        setPage({ chats: [...(before?.chats ?? []), ...found.chats], next: found.next });
        setFault(null);
      } catch (error) {
        if (turn === asked.current) setFault(faultFrom(error));
      }
    },
    [search],
  );

  useEffect(() => {
    const timer = setTimeout(() => void load(), search ? TYPING_MS : 0);
    const leave = onChatsChanged(() => void load());
    return () => {
      clearTimeout(timer);
      leave();
    };
  }, [load, search]);

  // The server answers again: so does the list, without a click.
  const status = useStatus();
  const seen = useRef(status);
  useEffect(() => {
    if (fault && status !== seen.current) void load();
    seen.current = status;
  }, [fault, status, load]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      field.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  return (
    <section className="history" aria-label={t("history.title")}>
      <a className="button" {...linkTo("/chat")}>
        <Icon name="plus" /> {t("history.new")}
      </a>
      <input
        ref={field}
        className="input"
        type="search"
        aria-label={t("history.search")}
        placeholder={t("history.search")}
        value={search}
        onChange={(event) => setSearch(event.target.value)}
      />
      {fault && <FaultNotice fault={fault} onRetry={() => void load()} />}
      <ul className="chats">
        {page?.chats.map((chat) => (
          <HistoryItem
            key={chat.id}
            chat={chat}
            here={chat.id === current}
            searching={search !== ""}
            onFault={setFault}
          />
        ))}
        {page?.next && (
          <li>
            <Button look="plain" onClick={() => void load(page)}>
              {t("more")}
            </Button>
          </li>
        )}
      </ul>
      {page && !page.chats.length && <p className="quiet small">{search ? t("history.none") : t("history.empty")}</p>}
      <Portability />
    </section>
  );
}
