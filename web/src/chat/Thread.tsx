import { Fragment } from "react";
import { useText } from "../text";
import { Answer } from "./Answer";
import { Compare } from "./Compare";
import type { Conversation, Live, State } from "./conversation";
import { Markdown } from "./Markdown";
import { Question } from "./Question";
import { pathTo, siblings } from "./tree";

interface Props {
  conversation: Conversation;
  state: State;
  editing: string | null;
  onEditing: (id: string | null) => void;
  onResend: (text: string, parent: string | null) => void;
}

/** The branch of the chat that is shown, and what is being written at its end. */
export function Thread({ conversation, state, editing, onEditing, onResend }: Props) {
  const chat = state.chat!;
  const { live, comparing } = state;
  const busy = live !== null || (comparing !== null && comparing.comparison === null);
  const path = pathTo(chat.messages, live ? live.parent : chat.head);
  return (
    <>
      {path.map((message) => (
        <Fragment key={message.id}>
          {message.role === "user" ? (
            <Question
              message={message}
              alternatives={siblings(chat.messages, message)}
              busy={busy}
              editing={editing === message.id}
              onEditing={(on) => onEditing(on ? message.id : null)}
              onTurn={(step) => conversation.turn(message, step)}
              onResend={onResend}
            />
          ) : (
            <Answer
              message={message}
              alternatives={siblings(chat.messages, message)}
              busy={busy}
              mayTeach={chat.may_teach}
              conversation={conversation}
            />
          )}
        </Fragment>
      ))}
      {live && <Growing live={live} />}
      {comparing && path.some(({ id }) => id === comparing.parent) && (
        <Compare comparing={comparing} conversation={conversation} />
      )}
    </>
  );
}

function Growing({ live }: { live: Live }) {
  const t = useText();
  const state = {
    sending: t("live.sending"),
    queued: t("live.queued", { n: live.position }),
    looking_up: t("live.looking_up"),
    reading: t("live.reading"),
    writing: live.nTokens ? t("live.written", { n: live.nTokens }) : t("live.writing"),
  }[live.phase];
  return (
    <article className="answer" aria-label={t("message.answer")} aria-busy="true">
      {live.text && <Markdown text={live.text} />}
      <p className="small quiet working" role="status">
        {state}
      </p>
    </article>
  );
}
