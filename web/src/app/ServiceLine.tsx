import { useText } from "../text";
import { useStatus } from "./session";

/** Which version answers, and what the machine is busy with. */
export function ServiceLine() {
  const t = useText();
  const status = useStatus();
  if (!status) return null;
  const { service, job, problem } = status;
  const nothing = problem ? t("service.nothing") : t("service.loading");
  return (
    <span className="service small quiet" role="status">
      {service ? (service.hash ? t("service.version", { name: service.name }) : t("service.quotes")) : nothing}
      {job && (
        <span className="chip">
          {job.eta_s === null
            ? t("job.running", { percent: Math.round(job.percent) })
            : t("job.running_eta", {
                percent: Math.round(job.percent),
                minutes: Math.max(1, Math.round(job.eta_s / 60)),
              })}
        </span>
      )}
    </span>
  );
}
