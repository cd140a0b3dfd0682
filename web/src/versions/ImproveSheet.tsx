import { useEffect, useRef, useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import type { Algorithm, How, Job, Preview } from "../api/versions";
import { go, linkTo } from "../app/route";
import { useText, type Translate } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { Cost } from "./Cost";
import { LearnedFrom } from "./LearnedFrom";
import { duration } from "./words";

interface Choice {
  how: How;
  n: number;
  algorithm: Algorithm;
}

type Remark = Preview["remarks"][number];

function problemWords({ code, message }: Preview["problems"][number], t: Translate): string {
  if (code === "too_few") return t("improve.too_few");
  if (code === "too_few_votes") return t("improve.too_few_votes");
  if (code === "one_kind") return t("improve.one_kind");
  if (code === "all_tie") return t("improve.all_tie");
  if (code === "memory") return t("improve.memory");
  return message;
}

function remarkWords({ code, message, n = 0, usual = 0, name = "", names = "" }: Remark, t: Translate): string {
  if (code === "simulated") return t("improve.remark.simulated", { names });
  if (code === "one_person") return t("improve.remark.one_person", { name });
  if (code === "few") return t("improve.remark.few", { n, usual });
  if (code === "elsewhere") return t("improve.remark.elsewhere", { name });
  if (code === "capped") return t("improve.remark.capped", { n });
  return message;
}

const ABOUT = { dpo: "improve.dpo.about", ppo: "improve.ppo.about", kto: "improve.kto.about" } as const;

/** What the service wants of a choice. */
const body = ({ how, n, algorithm }: Choice) => (how === "train" ? { how, algorithm } : { how, n });

/** What, how, cost: before anything is started. */
export function ImproveSheet({ onClose }: { onClose: () => void }) {
  const t = useText();
  const [choice, setChoice] = useState<Choice>({ how: "best-of-n", n: 4, algorithm: "dpo" });
  const [preview, setPreview] = useState<Preview | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [busy, setBusy] = useState(false);
  const asked = useRef(0);

  // First what there is to learn from, at once; then the cost, which takes the server some seconds to try.
  useEffect(() => {
    const turn = ++asked.current;
    const ask = async () => {
      for (const estimate of [false, true]) {
        const found = await post<Preview>("/api/improve/preview", { ...body(choice), estimate });
        if (turn !== asked.current) return;
        setPreview(found);
      }
    };
    setFault(null);
    ask().catch((error) => turn === asked.current && setFault(faultFrom(error)));
  }, [choice]);

  const start = async () => {
    setBusy(true);
    try {
      const job = await post<Job>("/api/improve", body(choice));
      go(`/versions/job/${job.id}`);
    } catch (error) {
      setFault(faultFrom(error));
      setBusy(false);
    }
  };

  const pick = (change: Partial<Choice>) => setChoice({ ...choice, ...change });
  return (
    <Dialog title={t("improve.act")} onClose={onClose}>
      {preview && <LearnedFrom learned={preview.learned} title={t("learned.title")} />}
      <fieldset className="choices">
        <legend>{t("improve.how")}</legend>
        <label>
          <input
            type="radio"
            name="how"
            checked={choice.how === "best-of-n"}
            onChange={() => pick({ how: "best-of-n" })}
          />
          <span>
            {t("improve.best_of_n", { n: choice.n })}
            <span className="quiet small">{t("improve.best_of_n.about", { n: choice.n })}</span>
          </span>
        </label>
        {(Object.keys(ABOUT) as Algorithm[]).map((algorithm) => (
          <label key={algorithm}>
            <input
              type="radio"
              name="how"
              checked={choice.how === "train" && choice.algorithm === algorithm}
              onChange={() => pick({ how: "train", algorithm })}
            />
            <span>
              {t("improve.train", { algorithm: algorithm.toUpperCase() })}
              <span className="quiet small">
                {t(ABOUT[algorithm])}
              </span>
            </span>
          </label>
        ))}
      </fieldset>
      {preview && !preview.problems.length && (
        <Cost
          cost={preview.cost}
          time={({ low_s, high_s }) => t("improve.time", { low: duration(low_s, t), high: duration(high_s, t) })}
        />
      )}
      {preview?.problems.map((problem) => (
        <p className="notice warn" key={problem.code}>
          <span>{problemWords(problem, t)}</span>
          {problem.code === "too_few" && <a {...linkTo("/teach")}>{t("place.teach")}</a>}
        </p>
      ))}
      {preview?.remarks.map((remark) => (
        <p className="small quiet" key={remark.code}>
          {remarkWords(remark, t)}
        </p>
      ))}
      {fault && <FaultNotice fault={fault} />}
      <div className="row">
        <Button look="main" disabled={busy || !preview || preview.problems.length > 0} onClick={() => void start()}>
          {t("improve.start")}
        </Button>
        <Button onClick={onClose}>{t("cancel")}</Button>
      </div>
      {preview && <Command text={preview.command} />}
    </Dialog>
  );
}
