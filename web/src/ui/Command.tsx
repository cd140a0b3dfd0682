import { useSession } from "../app/session";
import { useText } from "../text";
import { Button } from "./Button";
import { useCopy } from "./copy";

interface Props {
  text: string;
  /** A command that works on files, and knows no workspace. */
  noWorkspace?: boolean;
}

/** What to type for the same act in a terminal, with the workspace that this page is about. */
export function Command({ text, noWorkspace = false }: Props) {
  const t = useText();
  const { me } = useSession();
  const [copied, copy] = useCopy();
  const whole = noWorkspace || text.includes(" --workspace ") ? text : text + (me.workspace_option ?? "");
  return (
    <p className="command small">
      <span className="quiet">{t("command")}</span> <code>{whole}</code>
      <Button look="plain" icon={copied ? "check" : "copy"} aria-label={t("copy")} onClick={() => copy(whole)} />
    </p>
  );
}
