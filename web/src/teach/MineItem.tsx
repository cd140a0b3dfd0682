import type { Item } from "../api/types";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { orderOf, placesOf } from "./ranking";

/** What was asked and what this person said about it, in short. */
export function MineItem(props: { item: Item; busy: boolean; onChange: () => void; onWithdraw: () => void }) {
  const t = useText();
  const [language] = useLanguage();
  const { item } = props;
  const { saved } = item;
  if (!saved) return null;
  return (
    <>
      <div className="row spread">
        <strong>{item.messages.at(-1)?.content}</strong>
        <time className="small quiet" dateTime={saved.saved_at}>
          {new Date(saved.saved_at).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" })}
        </time>
      </div>
      {saved.unrankable && <p>{saved.unrankable === "all_bad" ? t("rank.all_bad") : t("rank.cant_tell")}</p>}
      {saved.text && <p className="said">{saved.text}</p>}
      {saved.ranks?.length ? <Ranked item={item} ranks={saved.ranks} /> : null}
      <div className="row">
        <Button disabled={props.busy} onClick={props.onChange}>{t("mine.change")}</Button>
        <Button look="plain" disabled={props.busy} onClick={props.onWithdraw}>
          {t("withdraw")}
        </Button>
      </div>
    </>
  );
}

function Ranked({ item, ranks }: { item: Item; ranks: number[] }) {
  const order = orderOf(ranks);
  const places = placesOf(order);
  return (
    <ul className="ranked">
      {order.map(({ answer }, at) => (
        <li key={answer}>
          <strong className="place-number">{places[at]}</strong>
          <span className="short">{item.answers[answer]?.text}</span>
        </li>
      ))}
    </ul>
  );
}
