import type { TeachState } from "../api/types";
import { useText } from "../text";

const percent = (share: number) => Math.round(100 * share);

/** How far people agree: for those who lead. */
export function Agreement({ agreement }: { agreement: NonNullable<TeachState["agreement"]> }) {
  const t = useText();
  return (
    <details className="small">
      <summary>
        {t("agreement.people", {
          share: percent(agreement.share),
          low: percent(agreement.low),
          high: percent(agreement.high),
        })}
      </summary>
      <p className="quiet">{t("agreement.pairs", { pairs: agreement.pairs, people: agreement.people })}</p>
    </details>
  );
}
