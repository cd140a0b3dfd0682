import type { Answers } from "../api/data";
import { personName } from "../app/names";
import { useText } from "../text";
import { FaultNotice } from "../ui/FaultNotice";
import { useLoaded } from "../ui/useLoaded";
import { Export } from "./Export";

/** Answers that people wrote and that may be learned from. */
export function AnswerList() {
  const t = useText();
  const { value, fault } = useLoaded<Answers>("/api/data/answers");
  if (!value) return fault && <FaultNotice fault={fault} />;
  if (!value.n) return <p className="card">{t("answers.none")}</p>;
  return (
    <section className="stack">
      <Export forms={["messages"]} />
      {value.answers.map((one, number) => (
        <article key={number} className="card stack">
          <p>
            <strong>{one.question}</strong>
          </p>
          <p className="pre">{one.text}</p>
          {one.instead_of && (
            <p className="small quiet pre">
              {t("answers.instead")} {one.instead_of}
            </p>
          )}
          <p className="small quiet">{t("answers.by", { person: personName(one.person, t) })}</p>
        </article>
      ))}
      {value.n > value.answers.length && (
        <p className="quiet small">{t("documents.more", { n: value.n - value.answers.length })}</p>
      )}
    </section>
  );
}
