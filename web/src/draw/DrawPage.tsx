import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, get, remove } from "../api/client";
import { pictureUrl, type DrawAbout, type Drawing, type DrawnPicture } from "../api/draw";
import { leads, useSession } from "../app/session";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useLoaded } from "../ui/useLoaded";
import { DrawForm, asked, usual, type Choice } from "./DrawForm";
import { DrawHistory } from "./DrawHistory";
import { PictureDialog } from "./PictureDialog";
import { useDrawing, type Live } from "./useDrawing";
import { loraOf, REMARKS } from "./words";

/** Pictures from words, from pictures, and into a part of one. */
export function DrawPage() {
  const t = useText();
  const { value: about, fault, load } = useLoaded<DrawAbout>("/api/drawings/about");
  return (
    <div className="page wide stack">
      <h1>{t("draw.title")}</h1>
      {fault && (fault.code === "no_picture_model" ? <NoModel /> : <FaultNotice fault={fault} onRetry={() => void load()} />)}
      {about && <Studio about={about} />}
    </div>
  );
}

function NoModel() {
  const t = useText();
  const { person } = useSession();
  return (
    <section className="card stack">
      <h2>{t("draw.none")}</h2>
      {leads(person.role) ? (
        <>
          <p>{t("draw.none.build")}</p>
          <Command text="malmoi run picture" />
          <p>{t("draw.none.import")}</p>
          <Command text="malmoi models import FOLDER" />
        </>
      ) : (
        <p>{t("draw.none.later")}</p>
      )}
    </section>
  );
}

function Studio({ about }: { about: DrawAbout }) {
  const t = useText();
  const [language] = useLanguage();
  const [choice, setChoice] = useState<Choice>(() => ({
    ...usual(about),
    prompt: new URLSearchParams(location.search).get("prompt") ?? "",
  }));
  const [drawings, setDrawings] = useState<Drawing[] | null>(null);
  const [next, setNext] = useState<number | null>(null);
  const [open, setOpen] = useState<[Drawing, DrawnPicture] | null>(null);
  const onDrawn = useCallback((drawing: Drawing) => void changed.current((all) => [drawing, ...all]), []);
  const { live, fault, setFault, stopped, remarks, draw, stop } = useDrawing(onDrawn);

  const turns = useRef(0);
  const loading = useRef(false);
  const load = useCallback(
    (before: number | null) => {
      const turn = ++turns.current;
      loading.current = true;
      return get<{ drawings: Drawing[]; next: number | null }>(`/api/drawings${before ? `?before=${before}` : ""}`).then(
        (page) => {
          if (turn !== turns.current) return;
          loading.current = false;
          setDrawings((all) => (before ? [...(all ?? []), ...page.drawings] : page.drawings));
          setNext(page.next);
        },
        (error) => {
          if (turn !== turns.current) return;
          loading.current = false;
          setFault(faultFrom(error));
        },
      );
    },
    [setFault],
  );
  useEffect(() => void load(null), [load]);
  // A list that was asked for before does not know of the change.
  const changed = useRef((change: (all: Drawing[]) => Drawing[]) => {
    setDrawings((all) => change(all ?? []));
    if (loading.current) void load(null);
  });

  const change = (part: Partial<Choice>) => setChoice((now) => ({ ...now, ...part }));
  const discard = (drawing: Drawing) =>
    remove(`/api/drawings/${drawing.id}`).then(
      () => changed.current((all) => all.filter(({ id }) => id !== drawing.id)),
      (error) => setFault(faultFrom(error)),
    );
  const again = (drawing: Drawing) => {
    const { prompt, negative, n, size, steps, guidance, sampler, seed, start_id: id } = drawing;
    const [lora, scale] = loraOf(drawing.lora);
    // A file of the person's own, and what was painted, are not kept: where they may still be in the form, they stay.
    const start = drawing.kind === "text" ? null : id ? { url: pictureUrl(id), id } : choice.start;
    const isSame = start !== null && (!id || choice.start?.id === id);
    change({
      start, mask: drawing.kind === "inpaint" && isSame ? choice.mask : null,
      ...(drawing.kind === "image" && { strength: String(drawing.strength) }),
      prompt, negative, n, size, steps: String(steps), guidance: String(guidance), sampler, seed: String(seed), scale,
      lora: about.loras.includes(lora) ? lora : "",
    });
    scrollTo(0, 0);
  };
  const begin = ([drawing, { id }]: [Drawing, DrawnPicture]): Choice => ({
    ...choice, prompt: drawing.prompt, size: drawing.size, seed: "", mask: null, start: { url: pictureUrl(id), id },
  });

  return (
    <>
      <p className="quiet">
        {about.name}: {about.knows[language]} {about.few_steps && t("draw.few_steps")}
      </p>
      <DrawForm
        about={about}
        choice={choice}
        onChoice={change}
        onDraw={() => void draw(asked(choice, about))}
        onStop={live && (() => stop(live.id))}
      />
      {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
      {remarks.map((code) => (
        <p key={code} className="notice small">
          <span>{t(REMARKS[code])}</span>
        </p>
      ))}
      {live && <InTheMaking live={live} />}
      {stopped && !live && (
        <p role="status" className="quiet">
          {t("draw.stopped")}
        </p>
      )}
      <DrawHistory
        drawings={drawings}
        onOpen={(drawing, picture) => setOpen([drawing, picture])}
        onAgain={again}
        onDelete={(drawing) => void discard(drawing)}
      />
      {next !== null && <Button onClick={() => void load(next)}>{t("more")}</Button>}
      {open && (
        <PictureDialog
          drawing={open[0]}
          picture={open[1]}
          onClose={() => setOpen(null)}
          onDeleted={() => {
            setOpen(null);
            void load(null);
          }}
          onChange={() => {
            setChoice(begin(open));
            setOpen(null);
            scrollTo(0, 0);
          }}
          onVary={() => {
            setChoice(begin(open));
            setOpen(null);
            if (!live) void draw(asked(begin(open), about));
          }}
        />
      )}
    </>
  );
}

function InTheMaking({ live }: { live: Live }) {
  const t = useText();
  const waits = live.position > 0;
  return (
    <section className="stack tight" aria-live="polite">
      <p role="status">
        {waits ? t("draw.waiting", { n: live.position }) : t("draw.drawing", { done: live.done, of: live.of || "…" })}
      </p>
      {!waits && <progress max={live.of || 1} value={live.done} aria-label={t("draw.title")} />}
      <div className="sheet">
        {live.previews.map((preview, index) => (
          <img
            key={index}
            className="drawn few unfinished"
            src={`data:image/png;base64,${preview}`}
            alt={t("draw.preview", { n: live.first + index + 1 })}
          />
        ))}
      </div>
    </section>
  );
}
