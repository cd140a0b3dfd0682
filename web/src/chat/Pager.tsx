import type { Message } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";

/** Pages through the alternatives to a message. */
export function Pager(props: {
  message: Message;
  alternatives: Message[];
  busy: boolean;
  onTurn: (step: number) => void;
}) {
  const t = useText();
  const { alternatives } = props;
  if (alternatives.length < 2) return null;
  const at = alternatives.findIndex(({ id }) => id === props.message.id);
  const turn = (step: number, icon: "left" | "right", label: string) => {
    return (
      <Button
        look="plain"
        icon={icon}
        aria-label={label}
        disabled={!alternatives[at + step] || props.busy}
        onClick={() => props.onTurn(step)}
      />
    );
  };
  return (
    <span className="pager" role="group" aria-label={t("pager.label")}>
      {turn(-1, "left", t("pager.before"))}
      <span aria-live="polite">
        {at + 1}/{alternatives.length}
      </span>
      {turn(1, "right", t("pager.after"))}
    </span>
  );
}
