import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import { leads, useSession } from "../app/session";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";

/** Writes questions that people will answer and rank. */
export function AskPage({ onSaved }: { onSaved: () => void }) {
  const t = useText();
  const [language] = useLanguage();
  const { person } = useSession();
  const [text, setText] = useState("");
  const [sent, setSent] = useState(0);
  const [busy, once] = useBusy();
  const [fault, setFault] = useState<Fault | null>(null);
  const lines = text.split("\n").filter((line) => line.trim());

  const addFromDocuments = async () => {
    setFault(null);
    try {
      const { questions } = await post<{ questions: string[] }>("/api/teach/prompts/documents", { lang: language });
      setSent((n) => n + questions.length);
      onSaved();
    } catch (error) {
      setFault(faultFrom(error));
    }
  };
  const addLines = async () => {
    setFault(null);
    try {
      for (const [place, line] of lines.entries()) {
        await post("/api/teach/prompts", { text: line.trim() });
        setSent((n) => n + 1);
        setText(lines.slice(place + 1).join("\n")); // what is left if the next one fails
      }
    } catch (error) {
      setFault(faultFrom(error));
    }
    onSaved();
  };
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        setFault(null);
        void once(() =>
          post("/api/teach/prompts", { text: text.trim() }).then(
            () => {
              setSent((n) => n + 1);
              setText((now) => (now === text ? "" : now)); // the next one may have been begun
              onSaved();
            },
            (error) => setFault(faultFrom(error)),
          ),
        );
      }}
    >
      <label className="field">
        <span className="label">{t("ask.label")}</span>
        <span className="quiet small">{t("ask.about")}</span>
        <textarea rows={4} value={text} readOnly={busy && lines.length > 1} onChange={(event) => setText(event.target.value)} />
      </label>
      {fault && <FaultNotice fault={fault} />}
      <div className="row">
        <Button look="main" type="submit" disabled={busy || !text.trim()}>
          {t("ask.act")}
        </Button>
        {lines.length > 1 && (
          <Button disabled={busy} onClick={() => void once(addLines)}>
            {t("ask.lines", { n: lines.length })}
          </Button>
        )}
        {leads(person.role) && !text && (
          <Button disabled={busy} onClick={() => void once(addFromDocuments)}>
            {t("ask.documents")}
          </Button>
        )}
        <span className="small quiet" role="status">
          {sent > 0 && t("ask.sent", { n: sent })}
        </span>
      </div>
      {leads(person.role) && <Command text={`malmoi data questions --language ${language}`} />}
    </form>
  );
}
