import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Version } from "../api/versions";
import { BackLink } from "../app/BackLink";
import { linkTo } from "../app/route";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { EarlierFacts } from "./EarlierFacts";
import { ExportSheet } from "./ExportSheet";
import { LearnedFrom } from "./LearnedFrom";
import { RewardFacts } from "./RewardFacts";
import { VerdictFacts } from "./VerdictFacts";
import { madeHow, stateWord, verdictWords } from "./words";

const LOOK_MS = 5000;

/** One version: the verdict in words, what to do with it, and the figures below. */
export function VersionPage({ name }: { name: string }) {
  const t = useText();
  const {
    value: version,
    fault,
    load,
    setFault,
  } = useLoaded<Version>(`/api/versions/${encodeURIComponent(name)}`, LOOK_MS);
  const [asking, setAsking] = useState(false);
  const [checking, setChecking] = useState(false);
  const [exporting, setExporting] = useState(false);

  const [busy, once] = useBusy();

  const act = (path: string, body: object) =>
    once(async () => {
      setAsking(false);
      try {
        await post(path, body);
        await load();
      } catch (error) {
        const failed = faultFrom(error);
        if (failed.code === "not_known_yet") setAsking(true);
        else setFault(failed);
      }
    });

  const check = async () => {
    setChecking(true);
    await act(`/api/versions/${encodeURIComponent(name)}/check`, {});
    setChecking(false);
  };

  if (!version) return <div className="page">{fault && <FaultNotice fault={fault} onRetry={() => void load()} />}</div>;
  const { verdict, state } = version;
  const base = `/api/versions/${version.name}`;
  return (
    <div className="page stack">
      <BackLink to="/versions" label={t("place.versions")} />
      <div className="row">
        <h1>{version.name}</h1>
        <span className="state">{stateWord(state, t)}</span>
      </div>
      <p className="quiet">
        {madeHow(version, t)} · <code>{version.hash.slice(0, 12)}</code>
      </p>
      {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
      {version.missing && <p className="notice warn">{t("version.missing")}</p>}
      {verdict && state !== "in_service" && <p className="verdict">{verdictWords(verdict, t)}</p>}
      <div className="row">
        {state === "in_service" && version.from && (
          <Button disabled={busy} onClick={() => void act("/api/versions/rollback", {})}>{t("version.back")}</Button>
        )}
        {state === "earlier" && (
          <Button disabled={busy} onClick={() => void act("/api/versions/rollback", { to: version.name })}>
            {t("version.back_to", { name: version.name })}
          </Button>
        )}
        {(state === "candidate" || state === "refused") && (
          <>
            {verdict?.outcome === "not known yet" && (
              <a className="button main" {...linkTo(`/versions/${version.name}/compare`)}>
                {t("version.compare")}
              </a>
            )}
            {Boolean(verdict?.regression?.unasked) && (
              <Button disabled={busy} onClick={() => void check()}>
                {t(checking ? "pinned.asking" : "pinned.ask")}
              </Button>
            )}
            <Button
              {...(verdict?.outcome === "better" ? { look: "main" as const } : {})}
              disabled={busy || verdict?.outcome === "worse" || verdict?.regression?.fell || version.missing !== null}
              onClick={() => void act(`${base}/promote`, { knowingly: false })}
            >
              {t("version.promote")}
            </Button>
          </>
        )}
        {version.missing === null && <Button onClick={() => setExporting(true)}>{t("version_export.act")}</Button>}
        {state === "candidate" && (
          <Button disabled={busy} onClick={() => void act(`${base}/refuse`, {})}>
            {t("version.refuse")}
          </Button>
        )}
      </div>
      {(state === "candidate" || state === "refused") && <Command text={`malmoi versions promote ${version.name}`} />}
      {verdict && state !== "in_service" && <VerdictFacts verdict={verdict} />}
      {version.report?.reward_model && <RewardFacts report={version.report.reward_model} />}
      {version.report?.earlier && <EarlierFacts report={version.report.earlier} />}
      {version.learned_from && <LearnedFrom learned={version.learned_from} title={t("learned.done")} />}
      {exporting && <ExportSheet name={version.name} onClose={() => setExporting(false)} />}
      {asking && (
        <Dialog title={t("version.promote")} onClose={() => setAsking(false)}>
          <p>{t("version.knowingly")}</p>
          <div className="row">
            <Button look="main" onClick={() => void act(`${base}/promote`, { knowingly: true })}>
              {t("version.promote_anyway")}
            </Button>
            <Button onClick={() => setAsking(false)}>{t("cancel")}</Button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
