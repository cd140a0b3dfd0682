import { useEffect, useId, useRef, useState } from "react";
import type { LabelInput, PageLabel, PageToLabel } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { KeyTable } from "./Keys";
import { useActiveTime } from "./useActiveTime";

const LONG = 3000;

interface Props {
  /** null: nothing waits, and what was said may still be taken back. */
  page: PageToLabel | null;
  busy: boolean;
  onSay: (said: { label: PageLabel; active_ms: number; input: LabelInput }) => void;
  onUndo?: () => void;
}

/** The key of the terminal's command that was pressed, also while Korean is typed. */
function pressed(event: KeyboardEvent): string {
  if (event.ctrlKey || event.metaKey) return event.key.toLowerCase() === "z" && !event.shiftKey ? "u" : "";
  if (event.altKey) return "";
  if (/^[a-z?]$/i.test(event.key)) return event.key.toLowerCase();
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : "";
}

/** Asks about one page: keep, drop, or the person cannot tell. */
export function LabelEditor({ page, busy, onSay, onUndo }: Props) {
  const t = useText();
  const [whole, setWhole] = useState(false);
  const [help, setHelp] = useState(false);
  const title = useId();
  const input = useRef<LabelInput>("mouse");
  const top = useRef<HTMLElement>(null);
  const active = useActiveTime();
  const say = (label: PageLabel) => page && !busy && onSay({ label, active_ms: active(), input: input.current });

  const onKey = (event: KeyboardEvent) => {
    const { target } = event;
    if (help || event.isComposing || (target instanceof Element && target.closest("input, select, textarea, dialog")))
      return;
    const key = pressed(event);
    if (event.repeat && key) return event.preventDefault(); // a key that is held down judges one page
    input.current = "keyboard";
    if (key === "k") say("keep");
    else if (key === "d") say("drop");
    else if (key === "?") say("unsure");
    else if (key === "u" && onUndo && !busy) onUndo();
    else if (key === "m") setWhole(true);
    else return;
    event.preventDefault();
  };
  const latest = useRef(onKey);
  latest.current = onKey;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => latest.current(event);
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);

  // The next page begins at its top, wherever the one before was left.
  useEffect(() => {
    if (top.current && top.current.getBoundingClientRect().top < 0) top.current.scrollIntoView();
  }, []);

  const long = page !== null && page.text.length > LONG && !whole;
  return (
    <div
      className="stack"
      onPointerDown={(event) => (input.current = event.pointerType === "touch" ? "touch" : "mouse")}
    >
      {page ? (
        <>
          <p className="quiet small">{t("label.how")}</p>
          <article className="card stack to-label" aria-labelledby={title} ref={top}>
            <div>
              <h2 id={title}>{page.title || page.source}</h2>
              {page.title && <p className="small quiet">{page.source}</p>}
            </div>
            <div className="pre" lang={page.language || undefined}>
              {long ? `${page.text.slice(0, LONG)} …` : page.text}
            </div>
            {long && (
              <p>
                <Button look="plain" onClick={() => setWhole(true)}>
                  {t("rank.whole")}
                </Button>
              </p>
            )}
          </article>
        </>
      ) : (
        <div className="empty stack">
          <h2>{t("teach.nothing")}</h2>
          <p className="quiet">{t("label.nothing")}</p>
        </div>
      )}
      <div className="bar">
        {page && (
          <>
            <Button className="say" disabled={busy} onClick={() => say("keep")}>
              {t("label.keep")}
            </Button>
            <Button className="say" disabled={busy} onClick={() => say("drop")}>
              {t("label.drop")}
            </Button>
            <Button className="say" disabled={busy} onClick={() => say("unsure")}>
              {t("rank.cant_tell")}
            </Button>
          </>
        )}
        <Button look="plain" disabled={busy || !onUndo} onClick={onUndo}>
          {t("undo")}
        </Button>
        <Button look="plain" className="for-keyboard" onClick={() => setHelp(true)}>
          {t("keys.title")}
        </Button>
      </div>
      {help && (
        <Dialog title={t("keys.title")} onClose={() => setHelp(false)}>
          <KeyTable
            rows={[
              [["K"], t("label.keep")],
              [["D"], t("label.drop")],
              [["?"], t("rank.cant_tell")],
              [["M"], t("rank.whole")],
              [["U", "Ctrl + Z"], t("undo")],
            ]}
          />
        </Dialog>
      )}
    </div>
  );
}
