import { useText } from "../text";
import { Button } from "./Button";
import { useCopy } from "./copy";

/** What to type for the same act in a terminal. */
export function Command({ text }: { text: string }) {
  const t = useText();
  const [copied, copy] = useCopy();
  return (
    <p className="command small">
      <span className="quiet">{t("command")}</span> <code>{text}</code>
      <Button look="plain" icon={copied ? "check" : "copy"} aria-label={t("copy")} onClick={() => copy(text)} />
    </p>
  );
}
