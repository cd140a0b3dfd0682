import { useEffect, useState } from "react";
import { faultFrom, get } from "../api/client";
import type { Fault, Message, Origin } from "../api/types";
import { stageName } from "../app/names";
import { titleWord } from "../data/titles";
import { useText } from "../text";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { SourceList } from "./SourceList";

/** From an answer to its passages, its version, the runs behind it and the people who taught it. */
export function WhereFrom({ message, onClose }: { message: Message; onClose: () => void }) {
  const t = useText();
  const [origin, setOrigin] = useState<Origin | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  useEffect(() => {
    get<Origin>(`/api/messages/${message.id}/origin`).then(setOrigin, (error) => setFault(faultFrom(error)));
  }, [message.id]);
  return (
    <Dialog title={t("origin.title")} onClose={onClose}>
      {fault && <FaultNotice fault={fault} />}
      {origin && <Facts origin={origin} message={message} />}
    </Dialog>
  );
}

function Facts({ origin, message: { answer } }: { origin: Origin; message: Message }) {
  const t = useText();
  const { model, index, people, reward } = origin;
  return (
    <>
      <SourceList sources={origin.sources} />
      {!origin.sources.length && <p>{t(answer?.declined ? "origin.declined" : "origin.no_sources")}</p>}
      {answer && <SourceList sources={answer.nearest} title={t("sources.nearest")} />}
      <dl className="facts">
        <dt>{t("origin.version")}</dt>
        <dd>
          {origin.hash ? (
            <>
              {origin.voice} <code>{origin.hash.slice(0, 12)}</code>
            </>
          ) : (
            t("origin.quotes")
          )}
        </dd>
        {model && (
          <>
            <dt>{t("origin.run")}</dt>
            <dd>{[stageName(model.stage, t), model.run, model.recipe].filter(Boolean).join(" · ")}</dd>
            {model.parents.length > 0 && <dt>{t("origin.parents")}</dt>}
            {model.parents.length > 0 && (
              <dd>
                <ol>
                  {model.parents.map((parent) => (
                    <li key={`${parent.role} ${parent.hash}`}>
                      {stageName(parent.stage, t)} <code>{parent.hash.slice(0, 8)}</code>
                    </li>
                  ))}
                </ol>
              </dd>
            )}
          </>
        )}
        {reward && (
          <>
            <dt>{t("origin.reward")}</dt>
            <dd>
              {reward.run} <code>{reward.hash.slice(0, 12)}</code>
            </dd>
          </>
        )}
        {people && (
          <>
            <dt>{t("origin.people")}</dt>
            <dd>
              <ul>
                {people.n_people > 0 && (
                  <li>
                    {people.n_people === 1
                      ? t("origin.judgements_by_one", { n: people.n_judgements })
                      : t("origin.judgements", { n: people.n_judgements, people: people.n_people })}
                  </li>
                )}
                {people.n_simulated > 0 && <li>{t("origin.simulated", { n: people.n_simulated })}</li>}
              </ul>
            </dd>
          </>
        )}
        {index && (
          <>
            <dt>{t("origin.documents")}</dt>
            <dd>
              {index.titles.map((title) => titleWord(title, t)).join(", ")} <code>{index.hash.slice(0, 8)}</code>
            </dd>
          </>
        )}
      </dl>
      <Command text={origin.command} />
    </>
  );
}
