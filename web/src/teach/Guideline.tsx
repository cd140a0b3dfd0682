import { useText } from "../text";

/** How to judge. */
export function Guideline() {
  const t = useText();
  return (
    <section className="guide card stack">
      <p>{t("guide.lead")}</p>
      <ol>
        <li>{t("guide.true")}</li>
        <li>{t("guide.helps")}</li>
        <li>{t("guide.harmless")}</li>
        <li>{t("guide.clear")}</li>
      </ol>
      <p>{t("guide.ties")}</p>
    </section>
  );
}
