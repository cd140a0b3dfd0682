import type { Version } from "../api/versions";
import { linkTo } from "../app/route";
import { useLanguage, useText } from "../text";
import { madeHow, stateWord, verdictWords } from "./words";

/** One version in the list. */
export function VersionRow({ version }: { version: Version }) {
  const t = useText();
  const [language] = useLanguage();
  return (
    <a className={`card version ${version.state}`} {...linkTo(`/versions/${version.name}`)}>
      <span className="row spread">
        <strong>{version.name}</strong>
        <span className="state">{stateWord(version.state, t)}</span>
      </span>
      <span className="quiet small">
        {madeHow(version, t)} ·{" "}
        <time dateTime={version.created_at}>{new Date(version.created_at).toLocaleDateString(language)}</time>
      </span>
      {version.verdict && version.state !== "earlier" && <span>{verdictWords(version.verdict, t)}</span>}
    </a>
  );
}
