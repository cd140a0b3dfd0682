import { useState } from "react";
import { put, remove } from "../api/client";
import type { Message } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { toEnd } from "../ui/toEnd";
import type { Conversation } from "./conversation";
import { Markdown } from "./Markdown";

interface Props {
  message: Message;
  conversation: Conversation;
}

/** A better answer is shown when the server has it. */
const unchanged = () => ({});

/** The better answer that this person wrote, and what it does. */
export function BetterAnswer({ message, mayTeach, conversation }: Props & { mayTeach: boolean }) {
  const t = useText();
  const { better } = message;
  if (!better || better.withdrawn) return null;
  return (
    <section className="better" aria-label={t("better.yours")}>
      <div className="row spread">
        <strong className="small">{t("better.yours")}</strong>
        <Button
          look="plain"
          onClick={() =>
            void conversation.sayAbout(message.id, unchanged, () => remove<Message>(`/api/messages/${message.id}/better`))
          }
        >
          {t("withdraw")}
        </Button>
      </div>
      <Markdown text={better.text} />
      <p className="small quiet">{mayTeach ? t("better.teaches") : t("better.kept")}</p>
    </section>
  );
}

/** The answer itself; of one that is none, the sentence that it offers, which may be the answer. */
function beginning({ text, answer }: Message): string {
  return answer?.declined ? (answer.nearest[0]?.sentence ?? "") : text;
}

export function BetterEditor({ message, conversation, onClose }: Props & { onClose: () => void }) {
  const t = useText();
  const before = message.better && !message.better.withdrawn ? message.better.text : beginning(message);
  const [text, setText] = useState(before);
  const [busy, setBusy] = useState(false);
  return (
    <form
      className="better stack"
      onSubmit={(event) => {
        event.preventDefault();
        setBusy(true);
        const save = () => put<Message>(`/api/messages/${message.id}/better`, { text: text.trim() });
        void conversation.sayAbout(message.id, unchanged, save).then((saved) => (saved ? onClose() : setBusy(false)));
      }}
    >
      <label className="field">
        <span className="label">{t("better.label")}</span>
        <textarea rows={5} value={text} onChange={(event) => setText(event.target.value)} onFocus={toEnd} autoFocus />
      </label>
      <div className="row">
        <Button look="main" type="submit" disabled={busy || !text.trim() || text.trim() === message.text.trim()}>
          {t("save")}
        </Button>
        <Button onClick={onClose}>{t("cancel")}</Button>
      </div>
    </form>
  );
}
