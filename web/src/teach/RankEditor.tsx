import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import type { Item, Judgement, Unrankable } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Keys } from "./Keys";
import { Prompt } from "./Prompt";
import { RankCard } from "./RankCard";
import { asShown, letter, move, orderOf, placesOf, ranksOf, toggleTie, type Order } from "./ranking";
import { useActiveTime } from "./useActiveTime";
import { useDrag } from "./useDrag";

interface Props {
  item: Item;
  busy: boolean;
  onDraft: (order: Order) => void;
  onSave: (judgement: Judgement) => void;
  onSkip?: () => void;
}

type Input = "mouse" | "keyboard" | "touch";

function beginning(item: Item): { order: Order; touched: boolean } {
  if (item.draft?.order) return { order: item.draft.order, touched: true };
  if (item.saved?.ranks?.length) return { order: orderOf(item.saved.ranks), touched: true };
  return { order: asShown(item.answers.length), touched: false };
}

/** Puts the answers to one prompt in order, best first. */
export function RankEditor({ item, busy, onDraft, onSave, onSkip }: Props) {
  const t = useText();
  const [{ order, touched }, setState] = useState(() => beginning(item));
  const [past, setPast] = useState<Order[]>([]);
  const [asked, setAsked] = useState(false);
  const [help, setHelp] = useState(false);
  const list = useRef<HTMLOListElement>(null);
  const focused = useRef<number | null>(null);
  const input = useRef<Input>("mouse");
  const active = useActiveTime();
  const places = placesOf(order);

  const arrange = (next: Order, focus?: number, isStep = true) => {
    if (next === order) return;
    if (isStep) setPast([...past, order]);
    setState({ order: next, touched: true });
    onDraft(next);
    if (focus !== undefined) focused.current = focus;
  };
  const undo = () => {
    const before = past.at(-1);
    if (!before) return;
    setPast(past.slice(0, -1));
    setState({ order: before, touched: true });
    onDraft(before);
  };
  const drag = useDrag(list, (from, to, begins) => arrange(move(order, from, to), undefined, begins));

  // A card that was moved by a key keeps the focus at its new place.
  useEffect(() => {
    if (focused.current === null) return;
    (list.current!.children[focused.current] as HTMLElement | undefined)?.focus();
    focused.current = null;
  }, [order]);

  const save = (unrankable?: Unrankable) => {
    if (busy) return;
    if (!unrankable && !touched && !asked) {
      setAsked(true);
      return;
    }
    onSave({
      ...(unrankable ? { unrankable } : { ranks: ranksOf(order) }),
      active_ms: active(),
      moved: touched,
      input: input.current,
    });
  };

  const onCardKey = (event: KeyboardEvent, at: number) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const step = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
    if (step && event.shiftKey) arrange(move(order, at, at + step), at + step);
    else if (step) (list.current!.children[at + step] as HTMLElement | undefined)?.focus();
    else if (/^[1-9]$/.test(key) && Number(key) <= order.length)
      arrange(move(order, at, Number(key) - 1), Number(key) - 1);
    else if (key === "=") arrange(toggleTie(order, at), at);
    else return;
    event.preventDefault();
  };

  const onKey = (event: KeyboardEvent) => {
    input.current = "keyboard";
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") save();
    else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") undo();
    else if (event.key === "?") setHelp(true);
    else return;
    event.preventDefault();
  };

  return (
    <div
      className="stack"
      onKeyDown={onKey}
      onPointerDown={(event) => (input.current = event.pointerType === "touch" ? "touch" : "mouse")}
    >
      <Prompt messages={item.messages} />
      <p className="quiet small">{t("rank.how")}</p>
      <ol className="rank" ref={list}>
        {order.map(({ answer, tied }, at) => (
          <RankCard
            key={item.answers[answer]!.id}
            name={letter(answer)}
            text={item.answers[answer]!.text}
            place={places[at]!}
            at={at}
            of={order.length}
            tied={tied}
            drag={drag(at)}
            onKeyDown={(event) => onCardKey(event, at)}
            onMove={(to) => arrange(move(order, at, to))}
            onTie={() => arrange(toggleTie(order, at))}
          />
        ))}
      </ol>
      <p className="hidden" role="status">
        {touched && t("rank.order", { order: spoken(order, places) })}
      </p>
      {asked && !touched && (
        <p className="notice" role="alert">
          {t("rank.unchanged")}
        </p>
      )}
      <div className="bar">
        <Button onClick={() => save("all_bad")} disabled={busy}>
          {t("rank.all_bad")}
        </Button>
        <Button onClick={() => save("cant_tell")} disabled={busy}>
          {t("rank.cant_tell")}
        </Button>
        <Button look="plain" onClick={undo} disabled={!past.length}>
          {t("undo")}
        </Button>
        {onSkip && (
          <Button look="plain" onClick={onSkip} disabled={busy}>
            {t("skip")}
          </Button>
        )}
        <Button look="plain" className="for-keyboard" onClick={() => setHelp(true)}>
          {t("keys.title")}
        </Button>
        <span className="grow" />
        <Button look="main" onClick={() => save()} disabled={busy}>
          {asked && !touched ? t("rank.save_unchanged") : t("rank.save")}
        </Button>
      </div>
      {help && (
        <Dialog title={t("keys.title")} onClose={() => setHelp(false)}>
          <Keys />
        </Dialog>
      )}
    </div>
  );
}

function spoken(order: Order, places: number[]): string {
  return order.map(({ answer }, at) => `${places[at]} ${letter(answer)}`).join(", ");
}
