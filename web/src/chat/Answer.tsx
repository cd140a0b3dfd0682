import { memo, useState } from "react";
import type { Message } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { useCopy } from "../ui/copy";
import { faultText } from "../ui/FaultNotice";
import { BetterAnswer, BetterEditor } from "./BetterAnswer";
import type { Conversation } from "./conversation";
import { Markdown } from "./Markdown";
import { Pager } from "./Pager";
import { SourceList } from "./SourceList";
import { VoteButtons, VoteReasons } from "./Vote";
import { WhereFrom } from "./WhereFrom";

interface Props {
  message: Message;
  alternatives: Message[];
  busy: boolean;
  mayTeach: boolean;
  conversation: Conversation;
}

/** What the assistant said, where it has it from, and what one can do about it. */
export const Answer = memo(function Answer(props: Props) {
  const { message, alternatives, busy, conversation } = props;
  const t = useText();
  const [copied, copy] = useCopy();
  const [writing, setWriting] = useState(false);
  const [asking, setAsking] = useState(false);
  return (
    <article className="answer" aria-label={t("message.answer")}>
      {message.text && <Markdown text={message.text} />}
      <Ending message={message} />
      {message.answer && <SourceList sources={message.answer.sources} />}
      {message.answer && <SourceList sources={message.answer.nearest} title={t("sources.nearest")} />}
      <div className="row">
        <Pager message={message} alternatives={alternatives} busy={busy} onTurn={(step) => conversation.turn(message, step)} />
        <Figures message={message} />
      </div>
      <div className="acts">
        <Button look="plain" icon={copied ? "check" : "copy"} onClick={() => copy(message.text)}>
          {copied ? t("copied") : t("copy")}
        </Button>
        <VoteButtons message={message} conversation={conversation} />
        <Button look="plain" icon="edit" aria-expanded={writing} onClick={() => setWriting(!writing)}>
          {t("better.act")}
        </Button>
        <Button look="plain" icon="again" disabled={busy} onClick={() => void conversation.again(message.parent!)}>
          {t("again")}
        </Button>
        <Button look="plain" icon="compare" disabled={busy} onClick={() => void conversation.compare(message.parent!)}>
          {t("compare.act")}
        </Button>
        <Button look="plain" icon="question" onClick={() => setAsking(true)}>
          {t("origin.title")}
        </Button>
      </div>
      <VoteReasons message={message} mayTeach={props.mayTeach} conversation={conversation} />
      {writing ? (
        <BetterEditor message={message} conversation={conversation} onClose={() => setWriting(false)} />
      ) : (
        <BetterAnswer message={message} mayTeach={props.mayTeach} conversation={conversation} />
      )}
      {asking && <WhereFrom message={message} onClose={() => setAsking(false)} />}
    </article>
  );
});

function Ending({ message }: { message: Message }) {
  const t = useText();
  if (message.finish === "stop" && !message.text) return <p className="small quiet">{t("ending.nothing")}</p>;
  if (message.finish === "stopped") return <p className="small quiet">{t("ending.stopped")}</p>;
  if (message.finish === "length") return <p className="small quiet">{t("ending.length")}</p>;
  if (message.finish === "error")
    return (
      <p className="notice warn small" role="alert">
        {message.error ? faultText(message.error, t) : t("fault.internal")}
      </p>
    );
  return null;
}

function Figures({ message: { answer } }: { message: Message }) {
  const t = useText();
  if (!answer) return null;
  // What was quoted, or declined, was not written by the network: the tokens are of a draft that nobody sees.
  const n_tokens = answer.quoted || answer.declined ? 0 : answer.n_tokens;
  const speed = answer.seconds > 0 && n_tokens > 1 ? Math.round(n_tokens / answer.seconds) : null;
  const figures = [
    // A greeting comes from no document, though it is not the network's either.
    answer.declined ? t("figures.declined") : answer.quoted && answer.sources.length ? t("figures.quoted") : "",
    n_tokens > 0 ? t("figures.tokens", { n: n_tokens }) : "",
    speed ? t("figures.speed", { n: speed }) : "",
    answer.n_dropped > 0 ? t("figures.dropped", { n: answer.n_dropped }) : "",
  ].filter(Boolean);
  return figures.length ? <p className="small quiet figures">{figures.join(" · ")}</p> : null;
}
