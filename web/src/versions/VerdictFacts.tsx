import type { Judged, Shown, VersionVerdict } from "../api/versions";
import { personName } from "../app/names";
import { useText } from "../text";
import { IntervalBar } from "./IntervalBar";
import { percent } from "./words";

/** How often people found the candidate better, and what they compared. */
export function VerdictFacts({ verdict }: { verdict: VersionVerdict }) {
  const t = useText();
  if (!saysSomething(verdict)) return null;
  return (
    <section className="stack">
      <h2>{t("verdict.title")}</h2>
      {verdict.win_rate !== null && (
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
      {verdict.people.length > 0 && (
        <dl className="facts">
          <dt>{t("verdict.people")}</dt>
          <dd>
            {verdict.people
              .map(({ name: known, n, taught }) => {
                const name = personName(known, t);
                return taught ? t("verdict.person_taught", { name, n }) : t("verdict.person_compared", { name, n });
              })
              .join(", ")}
          </dd>
          {verdict.others && (
            <>
              <dt>{t("verdict.others", { people: verdict.others.people })}</dt>
              <dd>
                {t("verdict.rate", {
                  rate: percent(verdict.others.win_rate),
                  low: percent(verdict.others.low),
                  high: percent(verdict.others.high),
                  n: verdict.others.n,
                })}
              </dd>
            </>
          )}
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
      )}
      <Pinned verdict={verdict} />
      {verdict.judge && <Judge judge={verdict.judge} />}
      <Examples title={t("verdict.wins")} shown={verdict.wins} against={verdict.against} />
      <Examples title={t("verdict.losses")} shown={verdict.losses} against={verdict.against} />
    </section>
  );
}

/** Whether there is more to say than the verdict in words. */
function saysSomething({ win_rate, people, regression, judge, wins, losses }: VersionVerdict): boolean {
  const pinned = regression ? regression.n + regression.unasked : 0;
  return win_rate !== null || people.length + pinned + wins.length + losses.length > 0 || judge !== null;
}

/** The pinned questions, of which a candidate may lose no more than a margin. */
function Pinned({ verdict }: { verdict: VersionVerdict }) {
  const t = useText();
  const pinned = verdict.regression;
  if (!pinned || pinned.n + pinned.unasked === 0) return null;
  const counts = { candidate: pinned.candidate, other: pinned.in_service, n: pinned.n, against: verdict.against };
  return (
    <>
      <h3>{t("pinned.heading")}</h3>
      {pinned.n > 0 && <p>{t("pinned.right", counts)}</p>}
      {pinned.fell && <p className="notice warn">{t("pinned.fell", { margin: percent(pinned.margin) })}</p>}
      {pinned.unasked > 0 && <p className="quiet">{t("pinned.unasked", { n: pinned.unasked })}</p>}
      <Examples title={t("pinned.lost")} shown={pinned.lost} against={verdict.against} />
      <Examples title={t("pinned.won")} shown={pinned.won} against={verdict.against} />
    </>
  );
}

function Judge({ judge }: { judge: Judged }) {
  const t = useText();
  const agrees = { mean: percent(judge.accuracy.mean), low: percent(judge.accuracy.low) };
  return (
    <>
      <h3>{t("judge.title")}</h3>
      {judge.win_rate !== null && judge.low !== null && judge.high !== null && (
        <p>
          {t("verdict.rate", {
            rate: percent(judge.win_rate),
            low: percent(judge.low),
            high: percent(judge.high),
            n: judge.n,
          })}
        </p>
      )}
      <p className="small quiet">
        {t("judge.agrees", { ...agrees, high: percent(judge.accuracy.high), n: judge.n_pairs })}{" "}
        {t(judge.counts ? "judge.about" : "judge.counts_not")}
      </p>
    </>
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
