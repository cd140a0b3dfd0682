import { useState } from "react";
import type { Item } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { NothingWaits } from "./NothingWaits";
import { Prompt } from "./Prompt";
import { Saving } from "./Saving";
import { useActiveTime } from "./useActiveTime";
import { useItem } from "./useItem";

export function WritePage({ onSaved }: { onSaved: () => void }) {
  const work = useItem("write", onSaved);
  const { item, fault } = work;
  return (
    <div className="stack">
      <Saving work={work} />
      {fault && <FaultNotice fault={fault} {...(item ? {} : { onRetry: () => void work.next() })} />}
      {item === null && <NothingWaits writing={0} />}
      {item && (
        <WriteEditor
          key={item.id}
          item={item}
          busy={work.busy}
          onDraft={(text) => work.keepDraft(item.id, { text })}
          onSave={(text, active_ms) => void work.save(item, { text, active_ms })}
          onSkip={() => void work.skip(item)}
        />
      )}
    </div>
  );
}

interface Props {
  item: Item;
  busy: boolean;
  onDraft: (text: string) => void;
  onSave: (text: string, activeMs: number) => void;
  onSkip?: () => void;
}

/** Writes the answer that the assistant should have given. */
export function WriteEditor({ item, busy, onDraft, onSave, onSkip }: Props) {
  const t = useText();
  const [text, setText] = useState(item.draft?.text ?? item.saved?.text ?? "");
  const active = useActiveTime();
  const save = () => !busy && text.trim() && onSave(text.trim(), active());
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <Prompt messages={item.messages} />
      <label className="field">
        <span className="label">{t("write.label")}</span>
        <textarea
          rows={8}
          value={text}
          lang={item.lang}
          onChange={(event) => {
            setText(event.target.value);
            onDraft(event.target.value);
          }}
          onKeyDown={(event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && save()}
        />
      </label>
      <div className="bar">
        {onSkip && (
          <Button look="plain" onClick={onSkip} disabled={busy}>
            {t("skip")}
          </Button>
        )}
        <span className="grow" />
        <Button look="main" type="submit" disabled={busy || !text.trim()}>
          {t("rank.save")}
        </Button>
      </div>
    </form>
  );
}
