import { Icon } from "../ui/Icon";
import { linkTo } from "./route";

/** The way back to the page above this one. */
export function BackLink({ to, label }: { to: string; label: string }) {
  return (
    <a className="back small" {...linkTo(to)}>
      <Icon name="left" size={16} /> {label}
    </a>
  );
}
