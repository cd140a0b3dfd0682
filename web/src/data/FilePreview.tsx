import { useState } from "react";
import { faultFrom, post, remove } from "../api/client";
import type { Added, PreviewRow, Upload } from "../api/data";
import type { Fault } from "../api/types";
import { reasonWord } from "../app/names";
import { useText, type Translate } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";

/** What is in a file: its first rows, what of them would be learned, and the choice to add it. */
export function FilePreview(props: { found: Upload; onLeft: () => void; onAdded: () => void }) {
  const t = useText();
  const { found } = props;
  const [added, setAdded] = useState<Added | null>(null);
  const [byProgram, setByProgram] = useState(false);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);

  const add = async () => {
    setBusy(true);
    setFault(null);
    try {
      setAdded(await post<Added>(`/api/data/uploads/${found.id}/add`, { by_program: byProgram }));
      props.onAdded();
    } catch (error) {
      setFault(faultFrom(error));
    }
    setBusy(false);
  };
  const leave = () => {
    void remove(`/api/data/uploads/${found.id}`).catch(() => undefined); // it is forgotten within a day
    props.onLeft();
  };

  if (added)
    return (
      <div className="notice" role="status">
        <span>
          {added.kind === "documents"
            ? t("add.added_document", { name: found.name })
            : t("add.added", { name: found.name, n: added.n, known: added.n_known })}
          <LeftOut rows={added.left_out} />
        </span>
        <Button look="plain" icon="close" aria-label={t("close")} onClick={props.onLeft} />
      </div>
    );
  const asksBy = found.kind === "rankings" || found.kind === "conversations";
  return (
    <section className="card stack preview">
      <div className="row spread">
        <h3>{found.name}</h3>
        {found.rows.length > 0 && (
          <span className="small legend">
            {found.learned !== null && <span className="learned">{t("preview.learned")}</span>}
            <span className="read">{t("preview.read")}</span>
          </span>
        )}
      </div>
      <p>{about(found, t)}</p>
      {found.problem && <p className="notice warn">{t("preview.nothing")}</p>}
      {found.n_too_long > 0 && <p className="small">{t("preview.too_long", { n: found.n_too_long })}</p>}
      <LeftOut rows={found.left_out} />
      {found.rows.length > 0 && (
        <ol className="rows" tabIndex={0} aria-label={found.name}>
          {found.rows.map((row, number) => (
            <Row key={number} row={row} />
          ))}
        </ol>
      )}
      {asksBy && !found.problem && (
        <fieldset className="choices inline">
          <legend>{t("add.by")}</legend>
          {[false, true].map((program) => (
            <label key={String(program)}>
              <input
                type="radio"
                name={`by-${found.id}`}
                checked={byProgram === program}
                onChange={() => setByProgram(program)}
              />
              {program ? t("add.by_program") : t("add.by_people")}
            </label>
          ))}
        </fieldset>
      )}
      {fault && <FaultNotice fault={fault} />}
      <div className="row">
        <Button look="main" disabled={busy || found.problem !== null} onClick={() => void add()}>
          {t("add.act")}
        </Button>
        <Button disabled={busy} onClick={leave}>
          {t("add.leave")}
        </Button>
        <span className="quiet" role="status">
          {busy && t("add.adding")}
        </span>
      </div>
      <Command text={found.command} />
    </section>
  );
}

function about(found: Upload, t: Translate): string {
  const n = found.n_rows;
  return {
    documents: t("preview.documents"),
    conversations: t("preview.conversations", { n, share: Math.round(100 * (found.learned ?? 0)) }),
    rankings: t("preview.rankings", { n }),
    prompts: t("preview.prompts", { n }),
    chats: t("preview.chats", { n }),
  }[found.kind];
}

function Row({ row }: { row: PreviewRow }) {
  const t = useText();
  const line = /^line (\d+)$/.exec(row.where)?.[1];
  return (
    <li>
      <span className="small quiet">{line ? t("sources.line", { n: line }) : row.where}</span>
      {row.texts.map((text, number) => (
        <p key={number}>
          {text.title && <strong className="small">{text.title} </strong>}
          {text.pieces.map((piece, place) => (
            <span key={place} className={piece.learned ? "learned" : "read"}>
              {piece.text}
            </span>
          ))}
        </p>
      ))}
    </li>
  );
}

function LeftOut({ rows }: { rows: Record<string, number> }) {
  const t = useText();
  return Object.entries(rows)
    .filter(([, n]) => n > 0)
    .map(([reason, n]) => (
      <span key={reason} className="small quiet left-out">
        {t("add.left_out", { n, reason: reasonWord(reason, t) })}
      </span>
    ));
}
