import { useState } from "react";
import { useStatus } from "../app/session";
import type { FullChat, Sampling } from "../api/types";
import { useText, type Key } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import type { Conversation } from "./conversation";

interface Knob {
  name: keyof Sampling;
  label: Key & `sampling.${string}`;
  about: Key & `sampling.${string}`;
  min: number;
  max: number;
  step: number;
}

const KNOBS: Knob[] = [
  {
    name: "temperature",
    label: "sampling.temperature",
    about: "sampling.temperature.about",
    min: 0,
    max: 10,
    step: 0.1,
  },
  { name: "top_p", label: "sampling.top_p", about: "sampling.top_p.about", min: 0.05, max: 1, step: 0.05 },
  { name: "top_k", label: "sampling.top_k", about: "sampling.top_k.about", min: 0, max: 100000, step: 1 },
  { name: "max_tokens", label: "sampling.max_tokens", about: "sampling.max_tokens.about", min: 1, max: 4096, step: 1 },
  { name: "seed", label: "sampling.seed", about: "sampling.seed.about", min: 0, max: 2147483647, step: 1 },
];

/** What the assistant is told before the chat, and how it picks its words. An empty field is the model's own value. */
export function ChatSettings(props: { chat: FullChat; conversation: Conversation; onClose: () => void }) {
  const t = useText();
  const presets: Sampling = useStatus()?.service?.sampling ?? {};
  const [system, setSystem] = useState(props.chat.system);
  const [sampling, setSampling] = useState(props.chat.sampling);

  const set = (name: keyof Sampling, value: string) => {
    const { [name]: _, ...others } = sampling;
    setSampling(value === "" ? others : { ...others, [name]: Number(value) });
  };

  return (
    <Dialog title={t("settings.title")} onClose={props.onClose}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void props.conversation.change({ system: system.trim(), sampling });
          props.onClose();
        }}
      >
        <label className="field">
          <span className="label">{t("settings.system")}</span>
          <span className="quiet small">{t("settings.system.about")}</span>
          <textarea rows={3} value={system} onChange={(event) => setSystem(event.target.value)} />
        </label>
        <div className="knobs">
          {KNOBS.map(({ name, label, about, min, max, step }) => (
            <label key={name} className="field">
              <span className="label">{(t as (key: Key) => string)(label)}</span>
              <input
                type="number"
                min={min}
                max={max}
                step={name === "temperature" || name === "top_p" ? "any" : step}
                value={sampling[name] ?? ""}
                placeholder={String(presets[name] ?? "")}
                onChange={(event) => set(name, event.target.value)}
              />
              <span className="quiet small">{(t as (key: Key) => string)(about)}</span>
            </label>
          ))}
        </div>
        <div className="row">
          <Button look="main" type="submit">
            {t("save")}
          </Button>
          <Button onClick={props.onClose}>{t("cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
