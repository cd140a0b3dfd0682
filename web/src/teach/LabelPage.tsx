import { useState } from "react";
import type { LabelState } from "../api/types";
import { leads, useSession } from "../app/session";
import { useText } from "../text";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { LabelEditor } from "./LabelEditor";
import { useLabels } from "./useLabels";

/** Pages of a corpus, one after the other: are they worth learning from? */
export function LabelPage() {
  const t = useText();
  const [corpus, setCorpus] = useState("");
  const work = useLabels(corpus);
  const { page, state, fault } = work;
  if (!state && fault) return <FaultNotice fault={fault} onRetry={() => void work.look()} />;
  if (!state) return <p className="quiet" role="status">{t("label.loading")}</p>;
  if (!state.corpora.length) return <NoCorpus />;
  return (
    <div className="stack">
      {state.corpora.length > 1 && (
        <label className="field">
          <span className="label">{t("label.corpus")}</span>
          <select value={corpus || state.corpus!} onChange={(event) => setCorpus(event.target.value)}>
            {state.corpora.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <p className="small quiet" role="status">
        {t("label.so_far", { keep: state.keep, drop: state.drop, unsure: state.unsure })}{" "}
        {t("label.mine", { mine: state.mine, waiting: state.n_waiting })}
      </p>
      {work.unsaved && (
        <p className="notice warn small" role="status">
          {t("teach.unsaved")}
        </p>
      )}
      {fault && <FaultNotice fault={fault} onRetry={() => void work.look()} />}
      {page !== undefined && (
        <LabelEditor
          key={page?.id}
          page={page}
          busy={work.busy}
          onSay={(said) => page && void work.say(page, said)}
          {...(state.last ? { onUndo: () => void work.undo(state.last!) } : {})}
        />
      )}
      <WhatFor state={state} />
    </div>
  );
}

/** What comes of the labels: who said them, and how a classifier learns from them. */
function WhatFor({ state }: { state: LabelState }) {
  const t = useText();
  const { keep, drop, least, people } = state;
  if (!people) return null;
  const enough = Math.min(keep, drop) >= least;
  return (
    <section className="card stack small">
      <h2>{t("label.what_for")}</h2>
      <p>{enough ? t("label.enough") : t("label.not_enough", { least, keep, drop })}</p>
      {people.length > 0 && (
        <>
          <p className="quiet">{people.map((one) => t("label.by", { name: one.name, n: one.n })).join(" · ")}</p>
          <p>
            <a className="button" href="/api/data/export?form=labels&format=jsonl" download>
              {t("label.export")}
            </a>
          </p>
          <Command text="malmoi data export labels.jsonl --form labels" />
          <Command text={`malmoi corpus build SOURCE --out CORPUS --set 'labels=["labels.jsonl"]'`} noWorkspace />
        </>
      )}
    </section>
  );
}

function NoCorpus() {
  const t = useText();
  const { me, person } = useSession();
  return (
    <div className="empty stack">
      <h2>{t("label.no_corpus")}</h2>
      {leads(person.role) ? (
        <>
          <p className="quiet">{t("label.make_corpus")}</p>
          <Command text={`malmoi corpus build SOURCE --out ${me.workspace}/web`} noWorkspace />
        </>
      ) : (
        <p className="quiet">{t("label.ask_owner")}</p>
      )}
    </div>
  );
}
