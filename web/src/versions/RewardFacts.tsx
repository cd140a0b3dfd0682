import type { Interval, RewardReport } from "../api/versions";
import { baselineName } from "../app/names";
import { useText } from "../text";
import { percent } from "./words";

/** How far the reward model agrees with people, beside what counts length or words. */
export function RewardFacts({ report }: { report: RewardReport }) {
  const t = useText();
  const share = ({ mean, low, high }: Interval) =>
    t("reward.share", { mean: percent(mean), low: percent(low), high: percent(high) });
  return (
    <section className="stack">
      <h2>{t("reward.title")}</h2>
      {!report.counts && <p className="notice warn">{t("reward.counts_not")}</p>}
      <dl className="facts">
        <dt>{t("reward.agrees")}</dt>
        <dd>{share(report.accuracy)}</dd>
        {report.without_edited && (
          <>
            <dt>{t("reward.without_edited")}</dt>
            <dd>{share(report.without_edited.accuracy)}</dd>
          </>
        )}
        {report.people && (
          <>
            <dt>{t("reward.people")}</dt>
            <dd>{share(report.people)}</dd>
          </>
        )}
        {report.baselines.map(({ name, accuracy }) => (
          <div className="pair" key={name}>
            <dt>{baselineName(name, t)}</dt>
            <dd>{share(accuracy)}</dd>
          </div>
        ))}
      </dl>
      <p className="small quiet">{t("reward.heldout", { pairs: report.n_pairs, prompts: report.n_prompts })}</p>
    </section>
  );
}
