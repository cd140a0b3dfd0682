import type { Learned } from "../api/versions";
import { sayerName } from "../app/names";
import { useText } from "../text";

/** What there was, or is, to learn from, and by whom. */
export function LearnedFrom({ learned, title }: { learned: Learned; title: string }) {
  const t = useText();
  const { people } = learned;
  return (
    <section className="stack">
      <h2>{title}</h2>
      <ul className="plain-list">
        <li>
          {people.length === 1
            ? t("learned.rankings_by_one", { n: learned.n_rankings, heldout: learned.n_heldout })
            : t("learned.rankings", { n: learned.n_rankings, people: people.length, heldout: learned.n_heldout })}
        </li>
        {Boolean(learned.n_better) && <li>{t("learned.better", { n: learned.n_better! })}</li>}
        {Boolean(learned.n_compared) && <li>{t("learned.compared", { n: learned.n_compared! })}</li>}
        {Boolean(learned.n_demonstrations) && <li>{t("learned.demonstrations", { n: learned.n_demonstrations! })}</li>}
        {learned.votes && learned.votes.up + learned.votes.down > 0 && <li>{t("learned.votes", learned.votes)}</li>}
        {Boolean(learned.n_waiting_votes) && <li>{t("learned.waiting", { n: learned.n_waiting_votes! })}</li>}
        {learned.n_withheld_chats > 0 && <li>{t("learned.withheld", { n: learned.n_withheld_chats })}</li>}
        {learned.cap !== null && <li>{t("learned.cap", { n: learned.cap })}</li>}
      </ul>
      {people.length > 0 && (
        <p className="small quiet">
          {people
            .map(({ name, n, n_left_out, simulated }) => {
              const who = sayerName(name, simulated, t);
              return n_left_out
                ? t("learned.person_capped", { name: who, n, left: n_left_out })
                : t("verdict.person", { name: who, n });
            })
            .join(", ")}
        </p>
      )}
    </section>
  );
}
