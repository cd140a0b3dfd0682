import { useRef, useState, type FormEvent, type ReactNode } from "react";
import { newId } from "../api/client";
import type { DrawAbout, NewDrawing } from "../api/draw";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Brush } from "./Brush";

const LONGEST_PROMPT = 2000;
const STRENGTH = 0.6;

/** A picture to begin with: one of the own (`id`) or a file (`data`, in base64). url: to show it */
export interface Start {
  url: string;
  id?: string;
  data?: string;
}

/** What a person has chosen. Numbers are texts as they are typed; an empty one is the model's default, or chance. */
export interface Choice {
  prompt: string;
  negative: string;
  n: number;
  size: string;
  steps: string;
  guidance: string;
  sampler: string;
  seed: string;
  strength: string;
  start: Start | null;
  mask: string | null;
  lora: string;
  scale: string;
}

export const usual = (about: DrawAbout): Choice => ({
  prompt: "", negative: "", n: Math.min(4, about.most_pictures), size: about.size, steps: String(about.steps),
  guidance: String(about.guidance), sampler: about.sampler, seed: "", strength: String(STRENGTH), start: null, mask: null,
  lora: "", scale: "1",
});

export function asked(choice: Choice, about: DrawAbout): NewDrawing {
  const { prompt, negative, n, size, sampler, start, mask, lora } = choice;
  const number = (text: string, instead: number) => (text.trim() ? Number(text) : instead);
  return {
    id: newId(), prompt, negative, n, size, sampler, steps: number(choice.steps, about.steps),
    guidance: number(choice.guidance, about.guidance), seed: choice.seed.trim() ? Number(choice.seed) : null,
    ...(start && (start.id ? { start_id: start.id } : { start: start.data! })),
    ...(start && !mask && { strength: number(choice.strength, STRENGTH) }),
    ...(start && mask && { mask }),
    ...(lora && { lora: `${lora}:${number(choice.scale, 1)}` }),
  };
}

interface Props {
  about: DrawAbout;
  choice: Choice;
  onChoice: (change: Partial<Choice>) => void;
  onDraw: () => void;
  onStop: (() => void) | null;
}

export function DrawForm({ about, choice, onChoice, onDraw, onStop }: Props) {
  const t = useText();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!onStop) onDraw();
  };
  const few = Array.from({ length: about.most_pictures }, (_, index) => index + 1);
  const sizes = about.sizes.includes(choice.size) ? about.sizes : [...about.sizes, choice.size];
  return (
    <form className="stack" onSubmit={submit}>
      <label className="field">
        <span className="label">{t("draw.prompt")}</span>
        <textarea
          value={choice.prompt}
          maxLength={LONGEST_PROMPT}
          rows={2}
          onChange={(event) => onChoice({ prompt: event.target.value })}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.nativeEvent.isComposing) submit(event);
          }}
        />
      </label>
      <StartPicture choice={choice} onChoice={onChoice} />
      <div className="row">
        <Choose label={t("draw.size")} value={choice.size} options={sizes} onValue={(size) => onChoice({ size })} />
        <LoraChoice about={about} choice={choice} onChoice={onChoice} />
        <Choose label={t("draw.n")} value={String(choice.n)} options={few.map(String)} onValue={(n) => onChoice({ n: Number(n) })} />
        <span className="grow" />
        {onStop ? (
          <Button look="main" icon="stop" onClick={onStop}>
            {t("composer.stop")}
          </Button>
        ) : (
          <Button look="main" icon="brush" type="submit" disabled={!choice.prompt.trim() && !choice.start}>
            {t("draw.act")}
          </Button>
        )}
      </div>
      <More about={about} choice={choice} onChoice={onChoice} />
    </form>
  );
}

/** Which LoRA the model draws with, and how much of it. */
function LoraChoice({ about, choice, onChoice }: Pick<Props, "about" | "choice" | "onChoice">) {
  const t = useText();
  if (!about.loras.length) return null;
  return (
    <>
      <label className="field">
        <span className="label">{t("draw.lora")}</span>
        <select value={choice.lora} onChange={(event) => onChoice({ lora: event.target.value })}>
          <option value="">{t("draw.lora.none")}</option>
          {about.loras.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {choice.lora && (
        <label className="field">
          <span className="label">{t("draw.lora.scale")}</span>
          <input
            type="number" min={-10} max={10} step="any" value={choice.scale}
            onChange={(event) => onChoice({ scale: event.target.value })}
          />
        </label>
      )}
    </>
  );
}

function StartPicture({ choice, onChoice }: Pick<Props, "choice" | "onChoice">) {
  const t = useText();
  const input = useRef<HTMLInputElement>(null);
  const [painting, setPainting] = useState(false);
  const take = (file: File | undefined) => {
    if (!file) return;
    const reader = new FileReader();
    reader.onload = () => {
      const url = String(reader.result);
      onChoice({ start: { url, data: url.split(",")[1] ?? "" }, mask: null });
    };
    reader.readAsDataURL(file);
  };
  const { start, mask } = choice;
  return (
    <div className="row">
      <input
        ref={input}
        type="file"
        accept="image/*"
        hidden
        aria-label={t("draw.start")}
        onChange={(event) => {
          take(event.target.files?.[0]);
          event.target.value = "";
        }}
      />
      {!start && <Button onClick={() => input.current!.click()}>{t("draw.start")}</Button>}
      {start && (
        <>
          <img className="drawn thumb" src={start.url} alt={t("draw.start.shown")} />
          <div className="stack tight">
            <div className="row">
              <Button icon="brush" onClick={() => setPainting(true)}>
                {t("draw.mask")}
              </Button>
              {mask && <Button onClick={() => onChoice({ mask: null })}>{t("draw.mask.drop")}</Button>}
              <Button onClick={() => onChoice({ start: null, mask: null })}>{t("draw.start.drop")}</Button>
            </div>
            {mask ? (
              <p className="small">{t("draw.mask.about")}</p>
            ) : (
              <Labelled label={t("draw.strength")} about={t("draw.strength.about")}>
                <input
                  type="number" min={0.05} max={1} step={0.05} value={choice.strength}
                  onChange={(event) => onChoice({ strength: event.target.value })}
                />
              </Labelled>
            )}
          </div>
        </>
      )}
      {painting && start && (
        <Brush
          url={start.url}
          onClose={() => setPainting(false)}
          onDone={(painted) => {
            onChoice({ mask: painted });
            setPainting(false);
          }}
        />
      )}
    </div>
  );
}

function More({ about, choice, onChoice }: Pick<Props, "about" | "choice" | "onChoice">) {
  const t = useText();
  const typed = (key: "negative" | "steps" | "guidance" | "seed") => ({
    value: choice[key],
    onChange: (event: { target: { value: string } }) => onChoice({ [key]: event.target.value }),
  });
  return (
    <details className="more">
      <summary>{t("draw.about.more")}</summary>
      <div className="fields">
        <Labelled label={t("draw.negative")} about={t("draw.negative.about")}>
          <input maxLength={LONGEST_PROMPT} {...typed("negative")} />
        </Labelled>
        <Labelled label={t("draw.steps")} about={t("draw.steps.about")}>
          <input type="number" min={1} max={about.most_steps} {...typed("steps")} />
        </Labelled>
        <Labelled label={t("draw.guidance")} about={t("draw.guidance.about")}>
          <input type="number" min={0} max={50} step="any" {...typed("guidance")} />
        </Labelled>
        <Labelled label={t("draw.seed")} about={t("draw.seed.about")}>
          <input type="number" min={0} max={Number.MAX_SAFE_INTEGER} {...typed("seed")} />
        </Labelled>
        <Choose
          label={t("draw.sampler")} value={choice.sampler} options={about.samplers}
          onValue={(sampler) => onChoice({ sampler })}
        />
      </div>
    </details>
  );
}

function Labelled({ label, about, children }: { label: string; about: string; children: ReactNode }) {
  return (
    <label className="field">
      <span className="label">{label}</span>
      {children}
      <span className="small quiet">{about}</span>
    </label>
  );
}

function Choose(props: { label: string; value: string; options: string[]; onValue: (value: string) => void }) {
  return (
    <label className="field">
      <span className="label">{props.label}</span>
      <select value={props.value} onChange={(event) => props.onValue(event.target.value)}>
        {props.options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    </label>
  );
}
