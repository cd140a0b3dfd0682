import { Markdown } from "../chat/Markdown";
import { useText } from "../text";

/** How to judge: the team's own words, or ours. */
export function Guideline({ own }: { own: string | null }) {
  const t = useText();
  if (own) return <Markdown text={own} />;
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
