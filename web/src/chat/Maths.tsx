import ReactMarkdown, { type Components } from "react-markdown";
import rehypeKatex from "rehype-katex";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";

// MathML, which browsers draw themselves: no style sheet and no fonts to load. A single $ is money.
const maths = { output: "mathml", strict: false, throwOnError: false, trust: false } as const;

/** Markdown with formulas; loaded when the first formula comes. */
export default function Maths({ text, components }: { text: string; components: Components }) {
  return (
    <ReactMarkdown
      remarkPlugins={[remarkGfm, [remarkMath, { singleDollarTextMath: false }]]}
      rehypePlugins={[[rehypeKatex, maths]]}
      components={components}
    >
      {text}
    </ReactMarkdown>
  );
}
