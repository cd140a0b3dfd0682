import { useRef, useState, type DragEvent } from "react";
import { faultFrom, newId } from "../api/client";
import { upload, type Upload } from "../api/data";
import type { Fault } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { faultText } from "../ui/FaultNotice";
import { FilePreview } from "./FilePreview";

const MOST_MB = 50;
const ANSWER = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}';
const RANKING = '{"messages": [{"role": "user", "content": "…"}], "answers": ["…", "…"], "ranks": [1, 2]}';

/** A file on its way: being read, refused, or to be looked at. */
interface Coming {
  key: string;
  name: string;
  found?: Upload;
  fault?: Fault;
}

/** Takes files, shows what is in them, and adds them when told to. */
export function AddFiles({ onAdded }: { onAdded: () => void }) {
  const t = useText();
  const [coming, setComing] = useState<Coming[]>([]);
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  const set = (key: string, change: Partial<Coming>) =>
    setComing((all) => all.map((one) => (one.key === key ? { ...one, ...change } : one)));
  const gone = (key: string) => setComing((all) => all.filter((one) => one.key !== key));

  const take = async (files: File[]) => {
    const begun = files.map((file) => ({ key: newId(), name: file.name, file }));
    setComing((all) => [...all, ...begun.map(({ key, name }) => ({ key, name }))]);
    for (const { key, file } of begun) {
      try {
        if (file.size > MOST_MB * 2 ** 20)
          set(key, { fault: { code: "too_large", message: "", details: { max_bytes: MOST_MB * 1e6 } } });
        else set(key, { found: await upload(file) });
      } catch (error) {
        set(key, { fault: faultFrom(error) });
      }
    }
  };

  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void take([...event.dataTransfer.files]);
  };

  return (
    <section className="stack">
      <div
        className={over ? "card drop over" : "card drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <h2>{t("add.title")}</h2>
        <div className="row">
          <Button look="main" icon="plus" onClick={() => input.current!.click()}>
            {t("add.choose")}
          </Button>
          <span className="quiet">{t("add.drop")}</span>
        </div>
        <input
          ref={input}
          type="file"
          multiple
          hidden
          aria-label={t("add.choose")}
          onChange={(event) => {
            void take([...event.target.files!]);
            event.target.value = "";
          }}
        />
        <ul className="plain-list small quiet">
          <li>{t("add.documents.about")}</li>
          <li>
            {t("add.answers.about")} <code>{ANSWER}</code>
          </li>
          <li>
            {t("add.rankings.about")} <code>{RANKING}</code>
          </li>
        </ul>
        <p className="small quiet">{t("add.most", { mb: MOST_MB })}</p>
      </div>
      {coming.map(({ key, name, found, fault }) =>
        found ? (
          <FilePreview key={key} found={found} onLeft={() => gone(key)} onAdded={onAdded} />
        ) : fault ? (
          <div key={key} className="notice warn" role="alert">
            <span>
              {t("add.failed", { name })} {/: no text in it\b/.test(fault.message) ? t("add.no_text") : faultText(fault, t)}
            </span>
            <Button look="plain" icon="close" aria-label={t("close")} onClick={() => gone(key)} />
          </div>
        ) : (
          <p key={key} className="quiet" role="status">
            {t("add.looking", { name })}
          </p>
        ),
      )}
    </section>
  );
}
