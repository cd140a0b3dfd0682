import { useEffect, useState, type ReactNode } from "react";
import { faultFrom, get, post } from "../api/client";
import type { StartCost, StartOptions, StartWhat } from "../api/start";
import type { Fault } from "../api/types";
import type { Job } from "../api/versions";
import { go, linkTo } from "../app/route";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { Cost } from "../versions/Cost";
import { JobRow } from "../versions/JobRow";
import { duration, gigabytes } from "../versions/words";

const LOOK_MS = 5000;
const UNFINISHED = new Set<Job["status"]>(["queued", "running", "interrupted", "stopped", "failed"]);

/** Three ways to begin, each with what it costs on this machine. */
export function StartPage() {
  const t = useText();
  const [options, setOptions] = useState<StartOptions | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const jobs = useLoaded<{ jobs: Job[] }>("/api/jobs", LOOK_MS);

  // First what is there, at once; then the seconds, which the server has to try.
  useEffect(() => {
    const ask = async () => {
      for (const estimate of [false, true]) setOptions(await get<StartOptions>(`/api/start?estimate=${estimate}`));
    };
    ask().catch((error) => setFault(faultFrom(error)));
  }, []);

  const [busy, once] = useBusy();
  const begin = (what: StartWhat, smaller = false) => {
    setFault(null);
    void once(() =>
      post<Job>("/api/start", { what, smaller }).then(
        (job) => go(`/versions/job/${job.id}`),
        (error) => setFault(faultFrom(error)),
      ),
    );
  };
  const open = jobs.value?.jobs.filter((job) => job.kind !== "improve" && UNFINISHED.has(job.status)) ?? [];
  return (
    <div className="page wide stack">
      <h1>{t("start.title")}</h1>
      <p className="quiet">{t("start.about")}</p>
      {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
      {open.map((job) => (
        <JobRow key={job.id} job={job} />
      ))}
      <div className="panes three">
        <Card title={t("start.build")} about={t("start.build.about")} command={options?.build.command}>
          <Needs cost={options?.build.cost} />
          <Act what="build" label={t("start.build.act")} cost={options?.build.cost} busy={busy} begin={begin} />
        </Card>
        <Card title={t("start.fetch")} about={t("start.fetch.about")} command={options?.fetch.command}>
          {options && <p>{t("start.fetch.size", { mb: Math.round(options.fetch.n_bytes / 1e6) })}</p>}
          <Needs cost={options?.fetch.cost} />
          {options?.fetch.is_here ? (
            <p className="quiet">{t("start.fetch.here")}</p>
          ) : (
            <Act what="fetch" label={t("start.fetch.act")} cost={options?.fetch.cost} busy={busy} begin={begin} />
          )}
        </Card>
        <Card title={t("start.text")} about={t("start.text.about")} command={options?.text.command}>
          {options && options.text.n_files > 0 ? (
            <>
              <p>{t("start.text.files", { n: options.text.n_files })}</p>
              {options.text.problem ? <p className="small">{t("start.text.problem")}</p> : <Needs cost={options.text.cost} />}
              <Act what="text" label={t("start.build.act")} cost={options.text.cost} busy={busy} begin={begin} />
            </>
          ) : null}
          <a className="button" {...linkTo("/data")}>
            {t("start.text.act")}
          </a>
        </Card>
      </div>
    </div>
  );
}

function Card(props: { title: string; about: string; command: string | undefined; children: ReactNode }) {
  return (
    <section className="card stack begin">
      <h2>{props.title}</h2>
      <p className="quiet">{props.about}</p>
      {props.children}
      {props.command && <Command text={props.command} />}
    </section>
  );
}

function Needs({ cost }: { cost: StartCost | null | undefined }) {
  const t = useText();
  return (
    <Cost
      cost={cost}
      time={({ seconds }) => (seconds === null ? null : t("start.time", { time: duration(seconds, t) }))}
      instead={({ smaller }) => (smaller === null ? null : t("start.smaller", { gb: gigabytes(smaller) }))}
    />
  );
}

interface ActProps {
  what: StartWhat;
  label: string;
  cost: StartCost | null | undefined;
  busy: boolean;
  begin: (what: StartWhat, smaller?: boolean) => void;
}

/** The button that begins; where it does not fit, one that begins with what fits. */
function Act({ what, label, cost, busy, begin }: ActProps) {
  const t = useText();
  if (cost && !cost.fits && cost.smaller !== null)
    return (
      <Button look="main" disabled={busy} onClick={() => begin(what, true)}>
        {t("start.use_smaller")}
      </Button>
    );
  return (
    <Button look="main" disabled={busy || !cost || !cost.fits} onClick={() => begin(what)}>
      {label}
    </Button>
  );
}
