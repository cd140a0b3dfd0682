import { useRef } from "react";
import type { Judgement } from "../api/types";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { NothingWaits } from "./NothingWaits";
import { RankEditor } from "./RankEditor";
import { Saving } from "./Saving";
import { useItem } from "./useItem";

export function RankPage({ onSaved, toWrite }: { onSaved: () => void; toWrite: number }) {
  const t = useText();
  const [language] = useLanguage();
  const work = useItem("rank", onSaved);
  const said = useRef<Judgement>({});
  const { item, fault, practice } = work;
  return (
    <div className="stack">
      <Saving work={work} />
      {fault && <FaultNotice fault={fault} {...(item ? {} : { onRetry: () => void work.next() })} />}
      {fault?.code === "lease_lost" && item && (
        <div className="row">
          <Button look="main" onClick={() => void work.save(item, { ...said.current, extra: true })}>
            {t("teach.save_extra")}
          </Button>
          <Button onClick={() => void work.next()}>{t("teach.next")}</Button>
        </div>
      )}
      {item === null && <NothingWaits writing={toWrite} />}
      {item?.practice && (
        <p className="notice small">{t("practice.about", { n: item.practice.number, of: item.practice.of })}</p>
      )}
      {practice && (
        <div className="notice" role="status">
          <span>
            <strong>{practice.right ? t("practice.right") : t("practice.other")}</strong>{" "}
            {practice.explanation[language]}
          </span>
          <Button look="main" onClick={() => void work.next()} autoFocus>
            {t("teach.next")}
          </Button>
        </div>
      )}
      {item && (
        <RankEditor
          key={`${item.id} ${item.saved?.version ?? 0}`}
          item={item}
          busy={work.busy || practice !== null}
          onDraft={(order) => work.keepDraft(item.id, { order })}
          onSave={(judgement) => {
            said.current = judgement;
            void work.save(item, judgement);
          }}
          {...(item.practice ? {} : { onSkip: () => void work.skip(item) })}
        />
      )}
    </div>
  );
}
