import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Snapshot } from "../api/data";
import { personName } from "../app/names";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { Export } from "./Export";
import { Forget } from "./Forget";

/** What was frozen, and by whom what is in it was said; freezing; deleting what a person said. */
export function SnapshotList({ onChanged }: { onChanged: () => void }) {
  const t = useText();
  const [language] = useLanguage();
  const { value, fault, setFault } = useLoaded<{ snapshots: Snapshot[] }>("/api/data/snapshots");
  const [forgetting, setForgetting] = useState(false);
  const [busy, once] = useBusy();
  const freeze = () =>
    once(() => post("/api/data/snapshots", { from: "people" }).then(onChanged, (error) => setFault(faultFrom(error))));
  return (
    <section className="stack">
      <p className="quiet">{t("snapshots.about")}</p>
      <div className="row">
        <Button look="main" disabled={busy} onClick={() => void freeze()}>
          {t("snapshots.freeze")}
        </Button>
        <Button look="danger" onClick={() => setForgetting(true)}>
          {t("forget.title")}
        </Button>
      </div>
      <Command text="malmoi data freeze" />
      {fault && <FaultNotice fault={fault} />}
      {value && !value.snapshots.length && <p className="card">{t("snapshots.none")}</p>}
      {value?.snapshots.map((one) => (
        <article key={one.name} className="card stack">
          <div className="row spread">
            <strong>{one.what === "answers" ? t("snapshots.answers", { n: one.n }) : t("snapshots.rankings", { n: one.n })}</strong>
            <code>{one.name}</code>
          </div>
          <p className="small">{one.people.map(({ name, n }) => t("rankings.by_n", { name: personName(name, t), n })).join(", ")}</p>
          <p className="small quiet">
            {new Date(one.created_at).toLocaleString(language)} {one.run}
          </p>
          {one.there ? (
            <Export forms={one.what === "answers" ? ["messages"] : ["ranked", "pairs"]} snapshot={one.name} />
          ) : (
            <p className="small quiet">{t("snapshots.gone")}</p>
          )}
        </article>
      ))}
      {forgetting && (
        <Forget
          onClose={(done) => {
            setForgetting(false);
            if (done) onChanged();
          }}
        />
      )}
    </section>
  );
}
