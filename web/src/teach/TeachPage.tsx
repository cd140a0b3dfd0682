import { useCallback, useEffect, useState } from "react";
import { faultFrom, get } from "../api/client";
import type { Fault, Role, TeachState } from "../api/types";
import { linkTo, useRoute } from "../app/route";
import { useSession } from "../app/session";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { Agreement } from "./Agreement";
import { AskPage } from "./AskPage";
import { Guideline } from "./Guideline";
import { LabelPage } from "./LabelPage";
import { MinePage } from "./MinePage";
import { RankPage } from "./RankPage";
import { WritePage } from "./WritePage";

const PAGES = { rank: RankPage, write: WritePage, ask: AskPage, label: LabelPage, mine: MinePage };

type Tab = keyof typeof PAGES;

/** Who only judges asks nothing; a corpus is not for everybody who chats. */
const LACKS: Partial<Record<Role, Tab>> = { labeler: "ask", user: "label" };

export function TeachPage() {
  const t = useText();
  const [, second] = useRoute();
  const { person } = useSession();
  const tab: Tab = second && second in PAGES ? (second as Tab) : "rank";
  const [state, setState] = useState<TeachState | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [guide, setGuide] = useState(false);
  const [begun, setBegun] = useState(false);
  const load = useCallback(() => {
    get<TeachState>("/api/teach").then(setState, (error) => setFault(faultFrom(error)));
  }, []);
  useEffect(load, [load]);

  const names: Record<Tab, string> = {
    rank: t("teach.rank"),
    write: t("teach.write"),
    ask: t("teach.ask"),
    label: t("teach.label"),
    mine: t("teach.mine"),
  };
  const tabs = (Object.keys(names) as Tab[]).filter((name) => LACKS[person.role] !== name);
  const Page = PAGES[tab];
  const newcomer = state !== null && state.n_saved === 0 && tab === "rank" && !begun;
  return (
    <div className="page stack teach">
      <div className="row spread">
        <span className="row">
          <h1>{t("place.teach")}</h1>
          {tab !== "label" && (
            <Button look="plain" icon="book" onClick={() => setGuide(true)}>
              {t("guide.title")}
            </Button>
          )}
        </span>
        {state && tab !== "label" && (
          <span className="quiet">
            {state.done_today > state.goal_today
              ? t("teach.today_more", { done: state.done_today })
              : t("teach.today", { done: state.done_today, goal: state.goal_today })}
          </span>
        )}
      </div>
      <nav className="tabs" aria-label={t("place.teach")}>
        {tabs.map((name) => (
          <a key={name} {...linkTo(`/teach/${name}`)} aria-current={name === tab ? "page" : undefined}>
            {names[name]}
          </a>
        ))}
      </nav>
      {fault && <FaultNotice fault={fault} />}
      {state?.agreement && tab === "rank" && <Agreement agreement={state.agreement} />}
      {newcomer && (
        <>
          <Guideline />
          <div className="row">
            <Button look="main" onClick={() => setBegun(true)}>
              {t("guide.start")}
            </Button>
          </div>
        </>
      )}
      {state && !newcomer && <Page key={tab} onSaved={load} toWrite={state.to_write} />}
      {guide && (
        <Dialog title={t("guide.title")} onClose={() => setGuide(false)}>
          <Guideline />
        </Dialog>
      )}
    </div>
  );
}
