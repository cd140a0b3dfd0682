import type { ReactNode } from "react";
import { LanguageButton, ThemeButton } from "../app/Looks";
import type { Me } from "../api/types";
import { useText } from "../text";

/** The page before anybody is signed in: one column, one task. */
export function Entrance(props: { me: Me; title: string; children: ReactNode }) {
  const t = useText();
  return (
    <main className="entrance">
      <div className="row spread">
        <strong>{props.me.workspace}</strong>
        <span className="row">
          <LanguageButton />
          <ThemeButton />
        </span>
      </div>
      <div className="stack">
        <h1>{props.title}</h1>
        {props.me.warning === "no_tls" && <p className="notice warn small">{t("frame.no_tls")}</p>}
        {props.children}
      </div>
    </main>
  );
}
