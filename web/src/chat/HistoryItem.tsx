import { useState } from "react";
import { faultFrom, patch, remove } from "../api/client";
import type { Learning } from "../api/data";
import type { Chat, Fault } from "../api/types";
import { go, linkTo } from "../app/route";
import { LearnedList } from "../data/LearnedList";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { useLoaded } from "../ui/useLoaded";
import { Menu } from "../ui/Menu";
import { chatsChanged } from "./changes";

/** One chat in the history: opens, is renamed, exported, deleted. */
export function HistoryItem(props: { chat: Chat; here: boolean; searching: boolean; onFault: (fault: Fault) => void }) {
  const { chat, here, searching } = props;
  const t = useText();
  const [act, setAct] = useState<"rename" | "delete" | null>(null);
  const [title, setTitle] = useState(chat.title ?? "");
  const name = chat.title || t("history.untitled");
  const done = (request: Promise<unknown>) => {
    setAct(null);
    request.then(chatsChanged, (error) => props.onFault(faultFrom(error)));
  };
  return (
    <li className={here ? "here" : ""}>
      <a {...linkTo(`/chat/${chat.id}`)} aria-current={here ? "page" : undefined}>
        {name}
        {searching && chat.excerpt && <span className="small quiet excerpt">{chat.excerpt}</span>}
      </a>
      <Menu label={t("history.menu", { title: name })} icon="dots">
        <li>
          <Button
            look="plain"
            icon="edit"
            onClick={() => {
              setTitle(chat.title ?? "");
              setAct("rename");
            }}
          >
            {t("history.rename")}
          </Button>
        </li>
        <li>
          <a className="button plain" href={`/api/chats/${chat.id}/export`} download>
            {t("history.export")}
          </a>
        </li>
        <li>
          <Button look="plain" icon="trash" onClick={() => setAct("delete")}>
            {t("delete")}
          </Button>
        </li>
      </Menu>
      {act === "rename" && (
        <Dialog title={t("history.rename")} onClose={() => setAct(null)}>
          <form
            className="stack"
            onSubmit={(event) => {
              event.preventDefault();
              done(patch(`/api/chats/${chat.id}`, { title: title.trim() }));
            }}
          >
            <label className="field">
              <span className="label">{t("history.name")}</span>
              <input
                value={title}
                onChange={(event) => setTitle(event.target.value)}
                maxLength={200}
                required
                autoFocus
              />
            </label>
            <div className="row">
              <Button look="main" type="submit">
                {t("save")}
              </Button>
              <Button onClick={() => setAct(null)}>{t("cancel")}</Button>
            </div>
          </form>
        </Dialog>
      )}
      {act === "delete" && (
        <Dialog title={t("history.delete_title", { title: name })} onClose={() => setAct(null)}>
          <p>{t("history.delete_about")}</p>
          <LearnedFromChat id={chat.id} />
          <div className="row">
            <Button
              look="danger"
              onClick={() => {
                done(remove(`/api/chats/${chat.id}`));
                if (here) go("/chat");
              }}
            >
              {t("delete")}
            </Button>
            <Button onClick={() => setAct(null)}>{t("cancel")}</Button>
          </div>
        </Dialog>
      )}
    </li>
  );
}

/** What has learned from a chat already, if anything has. */
function LearnedFromChat({ id }: { id: string }) {
  const { value } = useLoaded<Learning>(`/api/chats/${id}/learned`);
  const some = value && (value.snapshots.length || value.artefacts.length || value.versions.length);
  return some ? <LearnedList learning={value} /> : null;
}
