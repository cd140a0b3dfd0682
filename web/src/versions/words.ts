import type { Job, Version, VersionVerdict } from "../api/versions";
import type { Translate } from "../text";

export const percent = (share: number) => Math.round(100 * share);

export function stateWord(state: Version["state"], t: Translate): string {
  return {
    in_service: t("version.in_service"),
    candidate: t("version.candidate"),
    refused: t("version.refused"),
    earlier: t("version.earlier"),
  }[state];
}

const ALGORITHMS = new Set(["dpo", "ppo", "kto", "grpo"]);

/** How a version was made, in a sentence. */
export function madeHow(version: Version, t: Translate): string {
  const how = {
    "best-of-n": t("version.best_of_n", { n: version.n ?? 0 }),
    train: ALGORITHMS.has(version.model) ? t("version.trained_by", { algorithm: version.model.toUpperCase() }) : t("version.trained"),
    first: t("version.first"),
    added: t("version.added"),
  }[version.how];
  return version.from ? t("version.from", { how, from: version.from }) : how;
}

/** A verdict in words. */
export function verdictWords(verdict: VersionVerdict, t: Translate): string {
  if (verdict.outcome === "better") return t("verdict.better", { against: verdict.against });
  if (verdict.outcome === "worse") return t("verdict.worse", { against: verdict.against });
  if (verdict.n === 0) return t("verdict.none");
  if (verdict.n_more === null) return t("verdict.alike", { against: verdict.against });
  if (verdict.n_more === 0) return t("verdict.doubted");
  return t("verdict.unknown", { n: verdict.n_more });
}

/** What a job does, with its number. */
export function jobTitle(job: Job, t: Translate): string {
  const id = String(job.id);
  if (job.kind === "fetch") return t("job.title.fetch", { id });
  return job.kind === "improve" ? t("job.title", { id }) : t("job.title.build", { id });
}

export function statusWord(job: Job, t: Translate): string {
  if (job.status === "running" && job.asked) return t("job.ending");
  return {
    queued: t("job.queued", { n: job.place }),
    running: t("job.status.running"),
    interrupted: t("job.interrupted"),
    stopped: t("job.stopped"),
    failed: t("job.failed"),
    done: t("job.done"),
    thrown_away: t("job.thrown_away"),
  }[job.status];
}

/** Seconds as a person says them. */
export function duration(seconds: number, t: Translate): string {
  if (seconds < 90) return t("time.seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("time.minutes", { n: Math.round(seconds / 60) });
  return t("time.hours", { n: Math.round(seconds / 360) / 10 });
}

export const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
