import { Markdown } from "../chat/Markdown";
import type { Item } from "../api/types";
import { useText, type Key } from "../text";

const SPEAKERS: Record<string, Key & `prompt.${string}`> = {
  system: "prompt.system",
  user: "prompt.user",
  assistant: "prompt.assistant",
};

/** What was asked, with the conversation before it. */
export function Prompt({ messages }: { messages: Item["messages"] }) {
  const t = useText();
  return (
    <section className="prompt" aria-label={t("prompt.title")}>
      {messages.map(({ role, content }, index) => (
        <div key={index}>
          <span className="small quiet">{(t as (key: Key) => string)(SPEAKERS[role] ?? "prompt.user")}</span>
          {role === "assistant" ? <Markdown text={content} /> : <p className="said">{content}</p>}
        </div>
      ))}
    </section>
  );
}
