import { useEffect } from "react";
import { go } from "../app/route";
import { leads, useSession, useStatus } from "../app/session";
import { titleWord } from "../data/titles";
import type { Fault } from "../api/types";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";

/** Before the first message: what the assistant knows, and three questions to begin with. */
export function EmptyChat({ onAsk }: { onAsk: (text: string) => void }) {
  const t = useText();
  const [language] = useLanguage();
  const status = useStatus();
  if (status && !status.service && status.problem) return <Nothing problem={status.problem} />;
  const knows = status?.service?.looks_up;
  const about = knows
    ? t("empty.knows", { texts: knows.titles.map((title) => titleWord(title, t)).join(", "), passages: knows.passages })
    : status?.service
      ? t("empty.small")
      : t("empty.loading");
  const own = status?.questions[language] ?? [];
  const questions = own.length ? own : Object.values(status?.questions ?? {}).flat();
  return (
    <div className="empty stack">
      <h1>{t("empty.title")}</h1>
      <p className="quiet">{about}</p>
      {questions.slice(0, 3).map((question) => (
        <Button key={question} className="ask" onClick={() => onAsk(question)}>
          {question}
        </Button>
      ))}
    </div>
  );
}

function Nothing({ problem }: { problem: Fault }) {
  const t = useText();
  const { person } = useSession();
  const begins = problem.code === "no_model" && leads(person.role);
  useEffect(() => {
    if (begins) go("/start", "replace");
  }, [begins]);
  if (problem.code !== "no_model") return <FaultNotice fault={problem} />;
  return (
    <div className="empty stack">
      <h1>{t("empty.nothing")}</h1>
      <p>{t("empty.build")}</p>
      <Command text="malmoi index FOLDER" />
    </div>
  );
}
