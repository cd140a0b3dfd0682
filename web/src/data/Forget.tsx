import { useEffect, useState } from "react";
import { faultFrom, get, remove } from "../api/client";
import type { Learning, WithData } from "../api/data";
import { sayerName } from "../app/names";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { LearnedList } from "./LearnedList";

/** Deletes what a person said, after it was shown what has learned from it. */
export function Forget({ onClose }: { onClose: (done: boolean) => void }) {
  const t = useText();
  const { value, fault, setFault } = useLoaded<{ people: WithData[] }>("/api/data/people");
  const [id, setId] = useState("");
  const [learning, setLearning] = useState<Learning | null>(null);
  const [done, setDone] = useState(false);
  const [busy, once] = useBusy();
  const chosen = value?.people.find((one) => one.id === id);
  const path = `/api/data/people/${encodeURIComponent(id)}`;

  useEffect(() => {
    setLearning(null);
    let left = false; // another person is chosen before the answer about this one comes
    if (id)
      get<Learning>(`${path}/learned`).then(
        (found) => left || setLearning(found),
        (error) => left || setFault(faultFrom(error)),
      );
    return () => {
      left = true;
    };
  }, [id, path, setFault]);

  const forget = () =>
    once(() =>
      remove<Learning>(path).then(
        (found) => {
          setLearning(found);
          setDone(true);
        },
        (error) => setFault(faultFrom(error)),
      ),
    );
  return (
    <Dialog title={t("forget.title")} onClose={() => onClose(done)}>
      <p>{t("forget.about")}</p>
      {fault && <FaultNotice fault={fault} />}
      {!done && (
        <label className="field">
          <span className="label">{t("forget.who")}</span>
          <select value={id} disabled={busy} onChange={(event) => setId(event.target.value)}>
            <option value="">{t("forget.choose")}</option>
            {value?.people.map((one) => (
              <option key={one.id} value={one.id}>
                {sayerName(one.name, one.simulated, t)} (
                {t("forget.has", { rankings: one.n_rankings, answers: one.n_answers })})
              </option>
            ))}
          </select>
        </label>
      )}
      {done && chosen && <p role="status">{t("forget.done", { name: chosen.name })}</p>}
      {learning && <LearnedList learning={learning} />}
      {Boolean(learning?.files?.length) && (
        <div className="notice warn">
          <p>{t("forget.files")}</p>
          <ul className="plain-list">
            {learning!.files!.map((file) => (
              <li key={file}>
                <code className="whole">{file}</code>
              </li>
            ))}
          </ul>
        </div>
      )}
      <div className="row">
        {!done && (
          <Button look="danger" disabled={!learning || busy} onClick={() => void forget()}>
            {t("forget.act")}
          </Button>
        )}
        <Button onClick={() => onClose(done)}>{done ? t("close") : t("cancel")}</Button>
      </div>
      {chosen && <Command text={`malmoi data forget "${chosen.name}" --yes`} />}
    </Dialog>
  );
}
