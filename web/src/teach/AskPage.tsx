import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";

/** Writes questions that people will answer and rank. */
export function AskPage({ onSaved }: { onSaved: () => void }) {
  const t = useText();
  const [text, setText] = useState("");
  const [sent, setSent] = useState(0);
  const [busy, once] = useBusy();
  const [fault, setFault] = useState<Fault | null>(null);
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
        <textarea rows={4} value={text} onChange={(event) => setText(event.target.value)} />
      </label>
      {fault && <FaultNotice fault={fault} />}
      <div className="row">
        <Button look="main" type="submit" disabled={busy || !text.trim()}>
          {t("ask.act")}
        </Button>
        <span className="small quiet" role="status">
          {sent > 0 && t("ask.sent", { n: sent })}
        </span>
      </div>
    </form>
  );
}
