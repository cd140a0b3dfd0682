import { useState } from "react";
import { pictureUrl, type Drawing, type DrawnPicture } from "../api/draw";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { kindKey, loraOf, look } from "./words";

interface Props {
  /** null: not known yet. */
  drawings: Drawing[] | null;
  onOpen: (drawing: Drawing, picture: DrawnPicture) => void;
  onAgain: (drawing: Drawing) => void;
  onDelete: (drawing: Drawing) => void;
}

/** What the person drew, the latest first. */
export function DrawHistory({ drawings, onOpen, onAgain, onDelete }: Props) {
  const t = useText();
  const [deleting, setDeleting] = useState<Drawing | null>(null);
  return (
    <section className="stack" aria-labelledby="drawn">
      <h2 id="drawn">{t("draw.history")}</h2>
      {drawings?.length === 0 && <p className="quiet">{t("draw.empty")}</p>}
      {drawings?.map((drawing) => (
        <article key={drawing.id} className="stack tight">
          <div className="row spread">
            <h3>{drawing.prompt || t("draw.kind.image")}</h3>
            <div className="row">
              <Button look="plain" icon="again" onClick={() => onAgain(drawing)}>
                {t("draw.again")}
              </Button>
              <Button
                look="plain" icon="trash" aria-label={`${t("delete")}: ${drawing.prompt}`}
                onClick={() => setDeleting(drawing)}
              />
            </div>
          </div>
          <div className="sheet">
            {drawing.pictures.map((picture) => (
              <button key={picture.id} type="button" className="frame-of" onClick={() => onOpen(drawing, picture)}>
                <img
                  className={look(drawing.size)} loading="lazy" src={pictureUrl(picture.id)}
                  alt={t("draw.picture", { prompt: drawing.prompt, seed: String(picture.seed) })}
                />
              </button>
            ))}
          </div>
          <p className="small quiet">{about(drawing).join(" · ")}</p>
        </article>
      ))}
      {deleting && (
        <Dialog title={t("draw.delete_title")} onClose={() => setDeleting(null)}>
          <p>{t("draw.delete_about")}</p>
          <div className="row">
            <Button
              look="danger"
              onClick={() => {
                onDelete(deleting);
                setDeleting(null);
              }}
            >
              {t("delete")}
            </Button>
            <Button onClick={() => setDeleting(null)}>{t("cancel")}</Button>
          </div>
        </Dialog>
      )}
    </section>
  );

  function about(drawing: Drawing): string[] {
    const { size, steps, guidance, sampler, negative, model } = drawing;
    const kind = kindKey(drawing.kind);
    return [
      ...(kind ? [t(kind)] : []), size, `${t("draw.steps")} ${steps}`,
      `${t("draw.guidance")} ${guidance}`, sampler, ...(negative ? [`${t("draw.negative")}: ${negative}`] : []), model,
      ...(drawing.lora ? [`${t("draw.lora")} ${loraOf(drawing.lora).join(" × ")}`] : []),
    ];
  }
}
