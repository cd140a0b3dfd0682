import type { Pinned as Answers } from "../api/versions";
import { stageName } from "../app/names";
import { useText } from "../text";

/** The same questions, answered again at every checkpoint: the newest answers first. */
export function Pinned({ pinned }: { pinned: Answers }) {
  const t = useText();
  if (!pinned.rows.length) return <p className="quiet">{t("pinned.wait")}</p>;
  return (
    <section className="stack">
      <h2>{t("pinned.title")}</h2>
      {pinned.questions.map((question, number) => (
        <article key={question} className="card pinned">
          <strong>{question}</strong>
          <ol tabIndex={0} aria-label={question}>
            {pinned.rows.toReversed().map((row) => (
              <li key={`${row.stage} ${row.step}`}>
                <span className="small quiet">
                  {stageName(row.stage, t)} {row.step !== null && t("curve.step", { n: row.step })}
                </span>
                <p>{row.answers[number]}</p>
              </li>
            ))}
          </ol>
        </article>
      ))}
    </section>
  );
}
