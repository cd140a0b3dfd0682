import { useState } from "react";
import type { DataOverview } from "../api/data";
import { linkTo, useRoute } from "../app/route";
import { useText } from "../text";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useLoaded } from "../ui/useLoaded";
import { AddFiles } from "./AddFiles";
import { AnswerList } from "./AnswerList";
import { DocumentList } from "./DocumentList";
import { RankingList } from "./RankingList";
import { SnapshotList } from "./SnapshotList";

const LISTS = { documents: DocumentList, answers: AnswerList, rankings: RankingList, snapshots: SnapshotList };

type Tab = keyof typeof LISTS;

/** What the assistant looks up and learns from; files in and out. */
export function DataPage() {
  const t = useText();
  const [, second] = useRoute();
  const tab: Tab = second && second in LISTS ? (second as Tab) : "documents";
  const { value, fault, load } = useLoaded<DataOverview>("/api/data");
  const [turn, setTurn] = useState(0);
  const names: Record<Tab, string> = {
    documents: t("data.documents"),
    answers: t("data.answers"),
    rankings: t("data.rankings"),
    snapshots: t("data.snapshots"),
  };
  const List = LISTS[tab];
  const changed = () => {
    setTurn((now) => now + 1);
    void load();
  };
  return (
    <div className="page stack">
      <h1>{t("place.data")}</h1>
      {fault && <FaultNotice fault={fault} onRetry={() => void load()} />}
      <AddFiles onAdded={changed} />
      <nav className="tabs" aria-label={t("place.data")}>
        {(Object.keys(names) as Tab[]).map((name) => (
          <a key={name} {...linkTo(`/data/${name}`)} aria-current={name === tab ? "page" : undefined}>
            {names[name]} {value && <span className="quiet">{value[name].toLocaleString()}</span>}
          </a>
        ))}
      </nav>
      <List key={`${tab} ${turn}`} onChanged={changed} />
      {value && value.n_withheld_chats > 0 && (
        <p className="small quiet">{t("data.withheld", { n: value.n_withheld_chats })}</p>
      )}
      {value && <Command text={value.command} />}
    </div>
  );
}
