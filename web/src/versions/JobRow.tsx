import type { Job } from "../api/versions";
import { linkTo } from "../app/route";
import { useText } from "../text";
import { jobTitle, statusWord } from "./words";

export function JobRow({ job }: { job: Job }) {
  const t = useText();
  return (
    <a className="card version job" {...linkTo(`/versions/job/${job.id}`)}>
      <span className="row spread">
        <strong>{jobTitle(job, t)}</strong>
        <span className="state">{statusWord(job, t)}</span>
      </span>
      {job.percent !== null && <progress max={100} value={job.percent} aria-label={t("job.progress")} />}
    </a>
  );
}
