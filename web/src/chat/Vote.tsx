import { put } from "../api/client";
import type { Message, Reason, Vote } from "../api/types";
import { useText, type Key } from "../text";
import { Button } from "../ui/Button";
import type { Conversation } from "./conversation";

const REASONS: Record<Reason, Key & `reason.${string}`> = {
  wrong: "reason.wrong",
  off_topic: "reason.off_topic",
  unclear: "reason.unclear",
  too_long: "reason.too_long",
  unsafe: "reason.unsafe",
};

interface Props {
  message: Message;
  conversation: Conversation;
}

/** `change`: what is thought of the answer after the click, from what was thought of it before; null is nothing. */
function cast(message: Message, conversation: Conversation, change: (before: Vote | null) => Vote | null): void {
  void conversation.sayAbout(
    message.id,
    ({ vote }) => ({ vote: change(vote) }),
    ({ id, vote }) =>
      put<Message>(`/api/messages/${id}/vote`, {
        vote: vote?.vote ?? null,
        reasons: vote?.reasons ?? [],
        comment: vote?.comment ?? "",
      }),
  );
}

const toggled = (vote: Vote["vote"]) => (before: Vote | null) =>
  before?.vote === vote ? null : { vote, reasons: [], comment: before?.comment ?? "" };

const withReason = (reason: Reason) => (before: Vote | null) => {
  const reasons = before?.reasons ?? [];
  const others = reasons.filter((other) => other !== reason);
  return {
    vote: "down" as const,
    reasons: reasons.length > others.length ? others : [...reasons, reason],
    comment: before?.comment ?? "",
  };
};

export function VoteButtons({ message, conversation }: Props) {
  const t = useText();
  const mine = message.vote?.vote;
  return (
    <>
      <Button
        look="plain"
        icon="thumb_up"
        aria-pressed={mine === "up"}
        onClick={() => cast(message, conversation, toggled("up"))}
      >
        {t("vote.up")}
      </Button>
      <Button
        look="plain"
        icon="thumb_down"
        aria-pressed={mine === "down"}
        onClick={() => cast(message, conversation, toggled("down"))}
      >
        {t("vote.down")}
      </Button>
    </>
  );
}

/** Why an answer was not good, and what becomes of that. */
export function VoteReasons({ message, mayTeach, conversation }: Props & { mayTeach: boolean }) {
  const t = useText();
  const { vote } = message;
  if (vote?.vote !== "down") return null;
  return (
    <div className="reasons">
      <div className="row" role="group" aria-label={t("vote.why")}>
        <span className="small quiet">{t("vote.why")}</span>
        {(Object.keys(REASONS) as Reason[]).map((reason) => {
          const on = vote.reasons.includes(reason);
          return (
            <Button
              key={reason}
              className="pill"
              aria-pressed={on}
              onClick={() => cast(message, conversation, withReason(reason))}
            >
              {t(REASONS[reason])}
            </Button>
          );
        })}
      </div>
      <p className="small quiet" role="status">
        {mayTeach ? t("vote.goes_to_teach") : t("vote.kept")}
      </p>
    </div>
  );
}
