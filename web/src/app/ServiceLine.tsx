import type { Status } from "../api/types";
import { useText } from "../text";
import { linkTo } from "./route";
import { duration } from "../versions/words";
import { leads, useSession, useStatus } from "./session";

/** Which version answers, and what the machine is busy with. */
export function ServiceLine() {
  const t = useText();
  const status = useStatus();
  if (!status) return null;
  const { service, job, problem, version } = status;
  const nothing = problem ? t("service.nothing") : t("service.loading");
  const name = version ?? service?.name;
  return (
    <span className="service small quiet">
      {service && name ? (service.hash ? t("service.version", { name }) : t("service.quotes")) : nothing}
      {job && <JobChip job={job} />}
    </span>
  );
}

function JobChip({ job }: { job: NonNullable<Status["job"]> }) {
  const t = useText();
  const { person } = useSession();
  const percent = Math.round(job.percent ?? 0);
  const text =
    job.status !== "running"
      ? job.status === "queued"
        ? t("job.waiting")
        : t("job.paused")
      : job.kind !== "improve"
        ? t("job.building", { percent })
        : job.eta_s === null
          ? t("job.running", { percent })
          : t("job.running_eta", { percent, time: duration(job.eta_s, t) });
  if (!leads(person.role)) return <span className="chip">{text}</span>;
  return (
    <a className="chip" {...linkTo(`/versions/job/${job.id}`)}>
      {text}
    </a>
  );
}
