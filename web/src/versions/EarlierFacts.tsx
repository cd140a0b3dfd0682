import type { EarlierReport } from "../api/versions";
import { useText } from "../text";

/** Whether a version has lost some of what it was taught before. */
export function EarlierFacts({ report }: { report: EarlierReport }) {
  const t = useText();
  const { before, after, more } = report;
  const shown = (value: number) => value.toFixed(2);
  const signed = (value: number) => (value > 0 ? "+" : "") + shown(value);
  const word = more.low > 0 ? "earlier.lost" : more.high < 0 ? "earlier.won" : "earlier.kept";
  return (
    <section className="stack">
      <h2>{t("earlier.title")}</h2>
      <p className={more.low > 0 ? "notice warn" : ""}>{t(word)}</p>
      <p className="small quiet">
        {t("earlier.about", {
          n: report.n, before: shown(before), after: shown(after),
          more: signed(more.mean), low: signed(more.low), high: signed(more.high),
        })}
      </p>
    </section>
  );
}
