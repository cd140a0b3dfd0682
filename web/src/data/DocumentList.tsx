import { faultFrom, remove } from "../api/client";
import type { Documents } from "../api/data";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";
import { titleWord } from "./titles";

const SHOWN = 200;

/** What is looked up, file by file; what was added here can be taken out. */
export function DocumentList({ onChanged }: { onChanged: () => void }) {
  const t = useText();
  const { value, fault, setFault } = useLoaded<Documents>("/api/data/documents");
  const [busy, once] = useBusy();
  if (!value) return fault && <FaultNotice fault={fault} />;
  if (!value.files) return <p className="card">{t("documents.none")}</p>;
  const take = (file: string) =>
    once(() =>
      remove(`/api/data/documents?name=${encodeURIComponent(file)}`).then(onChanged, (error) =>
        setFault(faultFrom(error)),
      ),
    );
  return (
    <section className="stack">
      {fault && <FaultNotice fault={fault} />}
      <p>
        {value.titles.map((title) => titleWord(title, t)).join(", ")}{" "}
        <span className="quiet">{t("documents.counts", { files: value.files, passages: value.passages })}</span>
      </p>
      <ul className="people">
        {value.documents.slice(0, SHOWN).map(({ file, passages, added }) => (
          <li key={file}>
            <span>
              {titleWord(file, t)} <span className="quiet small">{t("documents.passages", { n: passages })}</span>
            </span>
            {added && (
              <Button look="plain" disabled={busy} onClick={() => void take(file)}>
                {t("documents.remove")}
              </Button>
            )}
          </li>
        ))}
      </ul>
      {value.documents.length > SHOWN && (
        <p className="quiet small">{t("documents.more", { n: value.documents.length - SHOWN })}</p>
      )}
    </section>
  );
}
