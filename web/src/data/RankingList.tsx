import type { Rankings } from "../api/data";
import { sayerName } from "../app/names";
import { linkTo } from "../app/route";
import { useText } from "../text";
import { FaultNotice } from "../ui/FaultNotice";
import { useLoaded } from "../ui/useLoaded";
import { Export } from "./Export";

/** Rankings that may be learned from, by whom. */
export function RankingList() {
  const t = useText();
  const { value, fault } = useLoaded<Rankings>("/api/data/rankings");
  if (!value) return fault && <FaultNotice fault={fault} />;
  if (!value.n)
    return (
      <p className="card">
        {t("rankings.none")} <a {...linkTo("/teach")}>{t("place.teach")}</a>
      </p>
    );
  const who = (name: string, simulated: boolean) => sayerName(name, simulated, t);
  return (
    <section className="stack">
      <p>
        {value.people.map((one) => t("rankings.by_n", { name: who(one.name, one.simulated), n: one.n })).join(", ")}
        {value.cap !== null && <span className="quiet small"> {t("learned.cap", { n: value.cap })}</span>}
      </p>
      {value.n_better > 0 && <p className="quiet small">{t("rankings.better", { n: value.n_better })}</p>}
      <Export forms={["ranked", "pairs"]} />
      {value.rankings.map((one, number) => (
        <details key={number} className="card">
          <summary>
            {one.question}{" "}
            <span className="quiet small">
              {who(one.person, one.simulated)}
              {one.heldout && ` · ${t("rankings.heldout")}`}
            </span>
          </summary>
          <ol className="ranked">
            {one.answers.map((answer, place) => (
              <li key={place} value={answer.rank} className="pre">
                {answer.text}
              </li>
            ))}
          </ol>
        </details>
      ))}
      {value.n > value.rankings.length && (
        <p className="quiet small">{t("documents.more", { n: value.n - value.rankings.length })}</p>
      )}
    </section>
  );
}
