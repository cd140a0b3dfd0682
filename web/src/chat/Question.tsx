import { memo, useState } from "react";
import type { Message } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { toEnd } from "../ui/toEnd";
import { Pager } from "./Pager";

interface Props {
  message: Message;
  alternatives: Message[];
  busy: boolean;
  editing: boolean;
  onEditing: (on: boolean) => void;
  onTurn: (step: number) => void;
  onResend: (text: string, parent: string | null) => void;
}

/** What a person said. Edited and sent again it begins a branch; the old one stays. */
export const Question = memo(function Question(props: Props) {
  const t = useText();
  const { message } = props;
  return (
    <article className="question" aria-label={t("message.yours")}>
      {props.editing ? (
        <Editor
          text={message.text}
          busy={props.busy}
          onCancel={() => props.onEditing(false)}
          onSend={(text) => {
            props.onEditing(false);
            props.onResend(text, message.parent);
          }}
        />
      ) : (
        <p className="said">{message.text}</p>
      )}
      {!props.editing && (
        <div className="acts">
          <Pager message={message} alternatives={props.alternatives} busy={props.busy} onTurn={props.onTurn} />
          <Button look="plain" icon="edit" disabled={props.busy} onClick={() => props.onEditing(true)}>
            {t("message.edit")}
          </Button>
        </div>
      )}
    </article>
  );
});

function Editor(props: { text: string; busy: boolean; onSend: (text: string) => void; onCancel: () => void }) {
  const t = useText();
  const [text, setText] = useState(props.text);
  return (
    <form
      className="stack"
      onKeyDown={(event) => event.key === "Escape" && !event.nativeEvent.isComposing && props.onCancel()}
      onSubmit={(event) => {
        event.preventDefault();
        props.onSend(text.trim());
      }}
    >
      <textarea
        className="input"
        aria-label={t("message.edit")}
        value={text}
        rows={Math.min(12, text.split("\n").length + 1)}
        onChange={(event) => setText(event.target.value)}
        onFocus={toEnd}
        autoFocus
      />
      <div className="row">
        <Button look="main" type="submit" disabled={props.busy || !text.trim()}>
          {t("message.resend")}
        </Button>
        <Button onClick={props.onCancel}>{t("cancel")}</Button>
      </div>
    </form>
  );
}
