import { useId } from "react";
import type { Pane, Verdict } from "../api/types";
import { useText, type Key } from "../text";
import { Button } from "../ui/Button";
import type { Comparing, Conversation } from "./conversation";
import { Markdown } from "./Markdown";

const VERDICTS: [Verdict, Key & `compare.${string}`][] = [
  ["a", "compare.a"],
  ["b", "compare.b"],
  ["same", "compare.same"],
  ["both_bad", "compare.both_bad"],
];

/** Two answers to one question without names; the names come after the verdict. */
export function Compare({ comparing, conversation }: { comparing: Comparing; conversation: Conversation }) {
  const t = useText();
  const title = useId();
  const { comparison } = comparing;
  const revealed = comparison?.revealed;
  return (
    <section className="compare" aria-labelledby={title}>
      <h2 id={title}>{revealed ? t("compare.done") : comparison ? t("compare.ask") : t("compare.writing")}</h2>
      <div className="panes">
        {(["a", "b"] as Pane[]).map((pane) => (
          <div key={pane} className={comparison?.verdict === pane ? "card chosen" : "card"}>
            <strong>{pane.toUpperCase()}</strong>
            {revealed && (
              <span className="small quiet">
                {" "}
                {[revealed[pane].voice, revealed[pane].hash?.slice(0, 8)].filter(Boolean).join(" · ")}
              </span>
            )}
            <Markdown text={(comparison ? comparison[pane].text : comparing.texts[pane]) || "…"} />
          </div>
        ))}
      </div>
      <div className="row">
        {revealed ? (
          <Button look="main" onClick={() => conversation.closeComparison()}>
            {t("compare.go_on")}
          </Button>
        ) : (
          <>
            {VERDICTS.map(([verdict, key]) => (
              <Button key={verdict} disabled={!comparison} onClick={() => void conversation.judge(verdict)}>
                {t(key)}
              </Button>
            ))}
            {comparison && (
              <Button look="plain" onClick={() => conversation.closeComparison()}>
                {t("compare.later")}
              </Button>
            )}
          </>
        )}
      </div>
    </section>
  );
}
