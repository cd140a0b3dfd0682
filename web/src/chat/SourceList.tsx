import { useId, useState } from "react";
import type { Source } from "../api/types";
import { useLanguage, useText } from "../text";
import { Icon } from "../ui/Icon";

/** The places that an answer was looked up in; a click shows the sentence in its passage. */
export function SourceList({ sources, title }: { sources: Source[]; title?: string }) {
  const t = useText();
  if (!sources.length) return null;
  return (
    <section className="sources" aria-label={title ?? t("sources.title")}>
      <span className="small quiet">{title ?? t("sources.title")}</span>
      <ol>
        {sources.map((source, index) => (
          <SourceItem key={index} source={source} number={index + 1} />
        ))}
      </ol>
    </section>
  );
}

function SourceItem({ source, number }: { source: Source; number: number }) {
  const [open, setOpen] = useState(false);
  const [language] = useLanguage();
  const t = useText();
  const passage = useId();
  const where = [source.place, source.line > 0 && !source.place ? t("sources.line", { n: String(source.line) }) : ""];
  const taught = source.person && source.time;
  const title = taught
    ? t("sources.taught", { person: source.person!, date: new Date(source.time!).toLocaleDateString(language) })
    : [source.file, source.heading, ...where].filter(Boolean).join(" · ");
  return (
    <li>
      <button
        type="button"
        className="source"
        aria-expanded={open}
        aria-controls={passage}
        onClick={() => setOpen(!open)}
      >
        <span className="number">{number}</span>
        <span>{title}</span>
        <Icon name={open ? "up" : "down"} size={16} />
      </button>
      {open && (
        <blockquote id={passage}>
          <Marked passage={source.passage} sentence={source.sentence} />
        </blockquote>
      )}
    </li>
  );
}

function Marked({ passage, sentence }: { passage: string; sentence: string }) {
  const at = passage.indexOf(sentence);
  if (at < 0) return <mark>{sentence}</mark>;
  return (
    <>
      {passage.slice(0, at)}
      <mark>{sentence}</mark>
      {passage.slice(at + sentence.length)}
    </>
  );
}
