import { useEffect, useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Job } from "../api/versions";
import { BackLink } from "../app/BackLink";
import { stageName } from "../app/names";
import { statusChanged } from "../app/session";
import { linkTo } from "../app/route";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { Icon } from "../ui/Icon";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { Pinned } from "./Pinned";
import { Curve } from "./Curve";
import { duration, jobTitle, statusWord } from "./words";

const LOOK_MS = 2000;

function errorKey(job: Job) {
  if (/disk is full/.test(job.error ?? "")) return "job.error.disk_full";
  return job.kind === "fetch" ? "job.error.fetch" : "job.error";
}

/** A job while it runs: its stations, at most three curves, and the ways to end it. */
export function JobPage({ id }: { id: string }) {
  const t = useText();
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const { value: job, fault, load, setFault } = useLoaded<Job>(path, LOOK_MS);
  const [throwing, setThrowing] = useState(false);
  const isDone = job?.status === "done";
  useEffect(() => {
    if (isDone) statusChanged();
  }, [isDone]);
  const [busy, once] = useBusy();
  if (!job) return <div className="page">{fault && <FaultNotice fault={fault} onRetry={() => void load()} />}</div>;

  const act = (what: string) => {
    setThrowing(false);
    void once(() => post(`${path}/${what}`).then(load, (error) => setFault(faultFrom(error))));
  };
  const { status } = job;
  const open = status === "queued" || status === "running";
  const resumable = status === "stopped" || status === "failed" || status === "interrupted";
  return (
    <div className="page stack">
      <BackLink to="/versions" label={t("place.versions")} />
      <div className="row">
        <h1>{jobTitle(job, t)}</h1>
        <span className="state" role="status">
          {statusWord(job, t)}
        </span>
      </div>
      {fault && <FaultNotice fault={fault} />}
      {job.error && (
        <div className="notice warn stack">
          <span>{t(errorKey(job))}</span>
          <code className="small">{job.error}</code>
        </div>
      )}
      {job.version && (
        <p className="notice">
          <span>{t("job.made", { name: job.version })}</span>
          <a className="button main" {...linkTo(`/versions/${job.version}`)}>
            {t("job.see")}
          </a>
        </p>
      )}
      {status === "done" && job.kind !== "improve" && (
        <p className="notice">
          <span>{t("job.ready")}</span>
          <a className="button main" {...linkTo("/chat")}>
            {t("place.chat")}
          </a>
        </p>
      )}
      <ol className="stations">
        {job.stages.map((stage) => (
          <li key={stage.name} className={stage.status} aria-current={stage.status === "running" ? "step" : undefined}>
            {stage.status === "done" && <Icon name="check" size={16} />}
            {stageName(stage.name, t)}
          </li>
        ))}
      </ol>
      {status === "running" && job.percent !== null && (
        <>
          <progress max={100} value={job.percent} aria-label={t("job.progress")} />
          <p className="quiet">
            {t("job.percent", { n: Math.round(job.percent) })}
            {job.eta_s !== null && ` · ${t("job.left", { time: duration(job.eta_s, t) })}`}
          </p>
        </>
      )}
      {open && <p className="quiet small">{t("job.may_close")}</p>}
      {job.pinned && <Pinned pinned={job.pinned} />}
      <div className="panes">
        {Object.entries(job.curves).map(([name, points]) => (
          <Curve key={name} name={name} points={points} />
        ))}
      </div>
      <div className="row">
        {status === "running" && !job.asked && (
          <Button disabled={busy} onClick={() => act("stop")}>
            {t("job.stop")}
          </Button>
        )}
        {status === "queued" && job.place > 1 && (
          <Button disabled={busy} onClick={() => act("earlier")}>
            {t("job.earlier")}
          </Button>
        )}
        {resumable && (
          <Button look="main" disabled={busy} onClick={() => act("resume")}>
            {t("job.resume")}
          </Button>
        )}
        {(open || resumable) && (
          <Button look="danger" disabled={busy} onClick={() => setThrowing(true)}>
            {t("job.throw_away")}
          </Button>
        )}
      </div>
      {job.log && job.log.length > 0 && (
        <details>
          <summary>{t("job.log")}</summary>
          <pre className="log" tabIndex={0}>
            {job.log.join("\n")}
          </pre>
        </details>
      )}
      <Command text={job.command} />
      {throwing && (
        <Dialog title={t("job.throw_away")} onClose={() => setThrowing(false)}>
          <p>{t("job.throw_about")}</p>
          <div className="row">
            <Button look="danger" onClick={() => act("throw-away")}>
              {t("job.throw_away")}
            </Button>
            <Button onClick={() => setThrowing(false)}>{t("cancel")}</Button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
