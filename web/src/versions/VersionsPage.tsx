import { useState } from "react";
import type { Job, Versions } from "../api/versions";
import { linkTo, useRoute } from "../app/route";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useLoaded } from "../ui/useLoaded";
import { ComparePage } from "./ComparePage";
import { ImproveSheet } from "./ImproveSheet";
import { JobPage } from "./JobPage";
import { JobRow } from "./JobRow";
import { PinnedQuestions } from "./PinnedQuestions";
import { VersionPage } from "./VersionPage";
import { VersionRow } from "./VersionRow";

/** `/versions`, `/versions/v3`, `/versions/v3/compare`, `/versions/job/7`. */
export function VersionsPage() {
  const [, name, more] = useRoute();
  if (name === "job" && more) return <JobPage key={more} id={more} />;
  if (name && more === "compare") return <ComparePage key={name} name={name} />;
  if (name) return <VersionPage key={name} name={name} />;
  return <AllVersions />;
}

const LOOK_MS = 5000;
const UNFINISHED = new Set<Job["status"]>(["queued", "running", "interrupted", "stopped", "failed"]);

/** The ring: what is in service, what may follow it, and the button that makes the next one. */
function AllVersions() {
  const t = useText();
  const versions = useLoaded<Versions>("/api/versions", LOOK_MS);
  const jobs = useLoaded<{ jobs: Job[] }>("/api/jobs", LOOK_MS);
  const [improving, setImproving] = useState(false);
  const { value } = versions;
  const open = jobs.value?.jobs.filter(({ status }) => UNFINISHED.has(status)) ?? [];
  return (
    <div className="page stack">
      <div className="row spread">
        <h1>{t("place.versions")}</h1>
        <Button look="main" onClick={() => setImproving(true)}>
          {t("improve.act")}
        </Button>
      </div>
      {versions.fault && <FaultNotice fault={versions.fault} onRetry={() => void versions.load()} />}
      {value && (
        <p className="quiet">
          {t("versions.rankings", { n: value.n_rankings, usual: value.n_usual })}{" "}
          <a {...linkTo("/teach")}>{t("place.teach")}</a>
        </p>
      )}
      {open.map((job) => (
        <JobRow key={job.id} job={job} />
      ))}
      {value && !value.versions.length && (
        <p className="card">
          {value.fallback ? (
            t("versions.fallback", { model: value.fallback.model })
          ) : (
            <>
              {t("service.nothing")} <a {...linkTo("/start")}>{t("place.start")}</a>
            </>
          )}
        </p>
      )}
      {value?.versions.map((version) => (
        <VersionRow key={version.name} version={version} />
      ))}
      <PinnedQuestions />
      {value && <Command text={value.command} />}
      {improving && <ImproveSheet onClose={() => setImproving(false)} />}
    </div>
  );
}
