import { useCallback, useEffect, useState } from "react";
import { faultFrom, post, put } from "../api/client";
import type { Fault } from "../api/types";
import type { Pair, VersionVerdict } from "../api/versions";
import { BackLink } from "../app/BackLink";
import { Markdown } from "../chat/Markdown";
import { Prompt } from "../teach/Prompt";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { verdictWords } from "./words";

type Answer = "a" | "b" | "tie" | "both_bad";

interface Turn {
  pair: Pair | null;
  made: number;
  verdict: VersionVerdict;
}

/** Blind comparisons of a candidate with the version in service, one after the other. */
export function ComparePage({ name }: { name: string }) {
  const t = useText();
  const [turn, setTurn] = useState<Turn | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [busy, setBusy] = useState(true);

  const next = useCallback(async () => {
    setBusy(true);
    setFault(null);
    try {
      setTurn(await post<Turn>(`/api/versions/${encodeURIComponent(name)}/comparisons`));
    } catch (error) {
      setFault(faultFrom(error));
    }
    setBusy(false);
  }, [name]);
  useEffect(() => void next(), [next]);

  const say = async (pair: Pair, answer: Answer) => {
    setBusy(true);
    try {
      await put(`/api/comparisons-of-versions/${pair.id}`, { answer });
      await next();
    } catch (error) {
      setFault(faultFrom(error));
      setBusy(false);
    }
  };

  const answers: [Answer, string][] = [
    ["a", t("compare.a")],
    ["b", t("compare.b")],
    ["tie", t("compare.same")],
    ["both_bad", t("compare.both_bad")],
  ];
  return (
    <div className="page stack">
      <BackLink to={`/versions/${name}`} label={name} />
      <h1>{t("compare.ask")}</h1>
      <p className="quiet">{t("gate.about", { made: turn?.made ?? 0 })}</p>
      {fault && <FaultNotice fault={fault} onRetry={() => void next()} />}
      {busy && (
        <p className="quiet" role="status">
          {t("compare.writing")}
          {Boolean(turn?.verdict.alike) && ` ${t("gate.passed", { n: turn!.verdict.alike })}`}
        </p>
      )}
      {turn && !busy && !turn.pair && <p className="notice">{t("gate.nothing")}</p>}
      {turn?.pair && !busy && (
        <>
          <Prompt messages={turn.pair.messages} />
          <div className="panes">
            {(["a", "b"] as const).map((pane) => (
              <div key={pane} className="card">
                <strong>{pane.toUpperCase()}</strong>
                <Markdown text={turn.pair![pane].text} />
              </div>
            ))}
          </div>
          <div className="row">
            {answers.map(([answer, label]) => (
              <Button key={answer} onClick={() => void say(turn.pair!, answer)}>
                {label}
              </Button>
            ))}
          </div>
        </>
      )}
      {turn && (
        <p className="small quiet" role="status">
          {verdictWords(turn.verdict, t)}
        </p>
      )}
    </div>
  );
}
