import { lazy, memo, Suspense, useState, type ComponentProps } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { useCopy } from "../ui/copy";

const Maths = lazy(() => import("./Maths"));

/**
 * An answer as it is meant to be read. Raw HTML stays text, a picture is named and never fetched, a link shows where it
 * leads and asks before it goes there: whoever can bring a model to write an address must learn nothing by it.
 */
export const Markdown = memo(function Markdown({ text: written }: { text: string }) {
  const text = withDollars(written);
  const plain = (
    <ReactMarkdown remarkPlugins={[remarkGfm]} components={components}>
      {text}
    </ReactMarkdown>
  );
  return (
    <div className="markdown">
      {text.includes("$$") ? (
        <Suspense fallback={plain}>
          <Maths text={text} components={components} />
        </Suspense>
      ) : (
        plain
      )}
    </div>
  );
});

/** Formulas that are written as \\(…\\) and \\[…\\], in the form that the reader of Markdown knows; code stays as it is. */
function withDollars(text: string): string {
  return text
    .split(/(```[\s\S]*?(?:```|$)|`[^`\n]*`)/)
    .map((part, index) =>
      index % 2
        ? part
        : part
            .replace(/\\\[([\s\S]+?)\\\]/g, (_, formula: string) => `\n$$\n${formula.trim()}\n$$\n`)
            .replace(/\\\((.+?)\\\)/g, (_, formula: string) => `$$${formula}$$`),
    )
    .join("");
}

function Link({ href, children }: ComponentProps<"a">) {
  const t = useText();
  const [asked, setAsked] = useState(false);
  if (!href || !/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>;
  return (
    <>
      <button type="button" className="link" aria-expanded={asked} onClick={() => setAsked(!asked)}>
        {children}
      </button>
      {asked && (
        <span className="leads">
          {t("link.leads")}{" "}
          <a href={href} target="_blank" rel="noopener noreferrer nofollow">
            {href}
          </a>
        </span>
      )}
    </>
  );
}

function Picture({ src, alt }: ComponentProps<"img">) {
  const t = useText();
  return (
    <span className="quiet">
      [{t("picture.not_loaded")} {alt || String(src ?? "")}]
    </span>
  );
}

function Code({ children }: ComponentProps<"pre">) {
  const t = useText();
  const [copied, copy] = useCopy();
  return (
    <div className="code">
      <Button
        look="plain"
        icon={copied ? "check" : "copy"}
        onClick={(event) => copy(event.currentTarget.nextElementSibling!.textContent!.trimEnd())}
      >
        {copied ? t("copied") : t("copy")}
      </Button>
      <pre tabIndex={0}>{children}</pre>
    </div>
  );
}

function Table({ children }: ComponentProps<"table">) {
  return (
    <div className="table" tabIndex={0} role="region">
      <table>{children}</table>
    </div>
  );
}

const components: Components = { a: Link, img: Picture, pre: Code, table: Table };
