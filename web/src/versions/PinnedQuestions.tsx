import { useState } from "react";
import { faultFrom, post, remove } from "../api/client";
import type { PinnedQuestion } from "../api/versions";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { percent } from "./words";

interface Pinned {
  questions: PinnedQuestion[];
  margin: number;
  command: string;
}

/** Questions that every version is asked; a candidate may lose no more of them than a margin. */
export function PinnedQuestions() {
  const t = useText();
  const { value, fault, load, setFault } = useLoaded<Pinned>("/api/pinned");
  const [text, setText] = useState("");
  const [must, setMust] = useState("");

  const [busy, once] = useBusy();
  const act = (ask: () => Promise<unknown>, then?: () => void) =>
    once(async () => {
      try {
        await ask();
        then?.();
        await load();
      } catch (error) {
        setFault(faultFrom(error));
      }
    });
  const add = () => {
    const words = must.split(",").map((word) => word.trim());
    return act(
      () => post("/api/pinned", { text, must: words.filter(Boolean) }),
      () => {
        setText("");
        setMust("");
      },
    );
  };
  return (
    <details>
      <summary>{t("pinned.manage", { n: value?.questions.length ?? 0 })}</summary>
      <div className="stack">
        <p className="quiet small">{t("pinned.about", { margin: percent(value?.margin ?? 0.05) })}</p>
        {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
        <ul className="plain-list stack">
          {value?.questions.map((question) => (
            <li key={question.id} className="row spread">
              <span>
                {question.text}{" "}
                <span className="small quiet">
                  {question.must.length ? t("pinned.must", { words: question.must.join(", ") }) : t("pinned.shown")}
                </span>
              </span>
              <Button disabled={busy} onClick={() => void act(() => remove(`/api/pinned/${question.id}`))}>
                {t("pinned.unpin")}
              </Button>
            </li>
          ))}
        </ul>
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void add();
          }}
        >
          <label className="field">
            {t("pinned.question")}
            <input value={text} maxLength={1000} required onChange={(event) => setText(event.target.value)} />
          </label>
          <label className="field">
            {t("pinned.words")}
            <input value={must} onChange={(event) => setMust(event.target.value)} />
          </label>
          <div className="row">
            <Button type="submit" disabled={busy || !text.trim()}>
              {t("pinned.pin")}
            </Button>
          </div>
        </form>
        {value && <Command text={value.command} />}
      </div>
    </details>
  );
}
