import type { Shown, VersionVerdict } from "../api/versions";
import { useText } from "../text";
import { IntervalBar } from "./IntervalBar";
import { percent } from "./words";

/** How often people found the candidate better, and what they compared. */
export function VerdictFacts({ verdict }: { verdict: VersionVerdict }) {
  const t = useText();
  return (
    <section className="stack">
      <h2>{t("verdict.title")}</h2>
      {verdict.win_rate === null ? (
        <p className="quiet">{t("verdict.none")}</p>
      ) : (
        <>
          <p>
            {t("verdict.rate", {
              rate: percent(verdict.win_rate),
              low: percent(verdict.low),
              high: percent(verdict.high),
              n: verdict.n,
            })}
          </p>
          <IntervalBar mean={verdict.win_rate} low={verdict.low} high={verdict.high} />
          <p className="small quiet">{t("verdict.valid")}</p>
        </>
      )}
      <dl className="facts">
        <dt>{t("verdict.people")}</dt>
        <dd>
          {verdict.people.length === 0
            ? "–"
            : verdict.people
                .map(({ name, n, taught }) =>
                  taught ? t("verdict.person_taught", { name, n }) : t("verdict.person", { name, n }),
                )
                .join(", ")}
        </dd>
        <dt>{t("verdict.ties")}</dt>
        <dd>{t("verdict.ties_n", { ties: verdict.ties, bad: verdict.both_bad, alike: verdict.alike })}</dd>
        <dt>{t("verdict.length")}</dt>
        <dd>
          {t("verdict.length_n", {
            candidate: Math.round(verdict.length.candidate),
            other: Math.round(verdict.length.in_service),
            against: verdict.against,
          })}
        </dd>
      </dl>
      <Examples title={t("verdict.wins")} shown={verdict.wins} against={verdict.against} />
      <Examples title={t("verdict.losses")} shown={verdict.losses} against={verdict.against} />
    </section>
  );
}

function Examples({ title, shown, against }: { title: string; shown: Shown[]; against: string }) {
  const t = useText();
  if (!shown.length) return null;
  return (
    <details>
      <summary>{title}</summary>
      <div className="stack examples">
        {shown.map((example, index) => (
          <div className="card stack" key={index}>
            <strong>{example.question}</strong>
            <div className="panes">
              <p>
                <span className="small quiet">{t("version.candidate")}</span>
                <br />
                {example.candidate}
              </p>
              <p>
                <span className="small quiet">{against}</span>
                <br />
                {example.in_service}
              </p>
            </div>
          </div>
        ))}
      </div>
    </details>
  );
}
