import { useText } from "../text";

export type Form = "ranked" | "pairs" | "messages";

/** Links that download rows in the forms that other tools read. */
export function Export({ forms, snapshot = "" }: { forms: Form[]; snapshot?: string }) {
  const t = useText();
  const words: Record<Form, string> = {
    ranked: t("export.ranked"),
    pairs: t("export.pairs"),
    messages: t("export.messages"),
  };
  const from = snapshot && `&snapshot=${snapshot}`;
  return (
    <div className="small export">
      {forms.map((form) => (
        <span key={form} className="row">
          {t("export.title")}: {words[form]}
          {["jsonl", "parquet"].map((format) => (
            <a key={format} href={`/api/data/export?form=${form}&format=${format}${from}`} download>
              {format === "jsonl" ? "JSONL" : "Parquet"}
            </a>
          ))}
        </span>
      ))}
      {forms.includes("pairs") && <span className="quiet">{t("export.ties")}</span>}
    </div>
  );
}
