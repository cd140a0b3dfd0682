import { useState } from "react";
import { faultFrom, remove } from "../api/client";
import { pictureUrl, type Drawing, type DrawnPicture, type DrawOrigin, type DrawRun } from "../api/draw";
import type { Fault } from "../api/types";
import { stageName } from "../app/names";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { kindKey, KINDS, look, loraOf } from "./words";

interface Props {
  drawing: Drawing;
  picture: DrawnPicture;
  onVary: () => void;
  onChange: () => void;
  onDeleted: () => void;
  onClose: () => void;
}

/** One picture, large, and what can be done with it. */
export function PictureDialog({ drawing, picture, onVary, onChange, onDeleted, onClose }: Props) {
  const t = useText();
  const [where, setWhere] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);
  const [busy, once] = useBusy();
  const discard = () =>
    once(() => remove(pictureUrl(picture.id)).then(onDeleted, (error) => setFault(faultFrom(error))));
  return (
    <Dialog title={drawing.prompt || t(kindKey(drawing.kind) ?? KINDS.image)} onClose={onClose}>
      {fault && <FaultNotice fault={fault} />}
      <img
        className={`${look(drawing.size)} large`}
        src={pictureUrl(picture.id)}
        alt={t("draw.picture", { prompt: drawing.prompt, seed: String(picture.seed) })}
      />
      <p className="small quiet">
        {t("draw.seed.one", { seed: String(picture.seed) })} · {drawing.size} · {drawing.model}
      </p>
      <div className="row">
        <Button look="main" onClick={onVary}>
          {t("draw.vary")}
        </Button>
        <Button icon="edit" onClick={onChange}>
          {t("draw.change")}
        </Button>
        <a className="button" href={`${pictureUrl(picture.id)}?download=true`} download>
          {t("draw.download")}
        </a>
        <Button aria-expanded={where} onClick={() => setWhere(!where)}>
          {t("draw.where")}
        </Button>
        <Button look="danger" icon="trash" disabled={busy} onClick={() => void discard()}>
          {t("draw.delete_picture")}
        </Button>
      </div>
      {where && <WhereFrom drawing={drawing} />}
    </Dialog>
  );
}

/** From a picture to its model, and to what that was made from. */
function WhereFrom({ drawing }: { drawing: Drawing }) {
  const t = useText();
  const { value: origin, fault } = useLoaded<DrawOrigin>(`/api/drawings/${drawing.id}/lineage`);
  if (fault) return <FaultNotice fault={fault} />;
  if (!origin) return null;
  return (
    <>
      <dl className="facts">
        <dt>{t("draw.model")}</dt>
        <dd>
          {origin.model} <code>{origin.hash?.slice(0, 12)}</code>
        </dd>
        {origin.start_sha256 && (
          <>
            <dt>{t("draw.where.began")}</dt>
            <dd>
              {origin.began.length === 0 && <code>{origin.start_sha256.slice(0, 12)}</code>}
              <ol>
                {origin.began.map(({ drawing: name, prompt, picture }) => (
                  <li key={picture}>
                    <img className="drawn few thumb" src={pictureUrl(picture)} alt="" /> {prompt} <code>{name}</code>
                  </li>
                ))}
              </ol>
            </dd>
          </>
        )}
        <Runs runs={origin.runs} />
        {origin.lora && (
          <>
            <dt>{t("draw.lora")}</dt>
            <dd>
              {loraOf(origin.lora).join(" × ")} <code>{/[0-9a-f]{64}/.exec(origin.lora)?.[0].slice(0, 12)}</code>
            </dd>
            <Runs runs={origin.lora_runs} />
          </>
        )}
      </dl>
      {origin.runs.length === 0 && <p>{t("draw.where.elsewhere")}</p>}
      <Command text={`malmoi lineage ${origin.name}`} />
    </>
  );
}

function Runs({ runs }: { runs: DrawRun[] }) {
  const t = useText();
  if (!runs.length) return null;
  return (
    <>
      <dt>{t("draw.where.runs")}</dt>
      <dd>
        <ol>
          {runs.map((run, index) => (
            <li key={`${run.id} ${index}`}>
              {stageName(run.stage, t)} <code>{run.id}</code> {run.source}
            </li>
          ))}
        </ol>
      </dd>
    </>
  );
}
