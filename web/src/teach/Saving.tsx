import { useText } from "../text";
import { Button } from "../ui/Button";
import type { ItemState } from "./useItem";

/** Whether what was said is with the server, and a way back. */
export function Saving({
  work,
}: {
  work: ItemState & { undo: (last: NonNullable<ItemState["last"]>) => Promise<void> };
}) {
  const t = useText();
  const { last } = work;
  if (work.unsaved)
    return (
      <p className="notice warn small" role="status">
        {t("teach.unsaved")}
      </p>
    );
  if (!last || work.practice || last.practice) return null;
  return (
    <div className="row small quiet" role="status">
      {t("teach.saved")}
      <Button look="plain" onClick={() => void work.undo(last)}>
        {t("undo")}
      </Button>
    </div>
  );
}
