import { useId, useState, type HTMLAttributes, type KeyboardEvent } from "react";
import { Markdown } from "../chat/Markdown";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";

const LONG = 900;

interface Props {
  name: string;
  text: string;
  place: number;
  at: number;
  of: number;
  tied: boolean;
  drag: HTMLAttributes<HTMLElement>;
  onKeyDown: (event: KeyboardEvent) => void;
  onMove: (to: number) => void;
  onTie: () => void;
}

/** One answer at its place. */
export function RankCard(props: Props) {
  const t = useText();
  const { name, place, at } = props;
  const [whole, setWhole] = useState(props.text.length <= LONG);
  const body = useId();
  return (
    <li
      className={props.tied ? "card tied" : "card"}
      tabIndex={0}
      aria-label={t("rank.card", { place, name })}
      aria-describedby={body}
      onKeyDown={props.onKeyDown}
    >
      <div className="rank-head">
        <span className="handle" {...props.drag}>
          <Icon name="grip" />
          <strong className="place-number">{place}</strong>
          <span className="quiet">{t("rank.answer", { name })}</span>
        </span>
        <Button
          look="plain"
          aria-pressed={props.tied}
          disabled={at === 0}
          title={t("rank.tie_about")}
          onClick={props.onTie}
        >
          = {t("rank.tie")}
        </Button>
        <Button
          look="plain"
          icon="up"
          aria-label={t("rank.up", { name })}
          disabled={at === 0}
          onClick={() => props.onMove(at - 1)}
        />
        <Button
          look="plain"
          icon="down"
          aria-label={t("rank.down", { name })}
          disabled={at === props.of - 1}
          onClick={() => props.onMove(at + 1)}
        />
      </div>
      <div id={body} className={whole ? "" : "cut"}>
        <Markdown text={props.text} />
      </div>
      {!whole && (
        <Button look="plain" onClick={() => setWhole(true)}>
          {t("rank.whole")}
        </Button>
      )}
    </li>
  );
}
