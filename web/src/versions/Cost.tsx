import type { Preview } from "../api/versions";
import { useText } from "../text";
import { duration, gigabytes } from "./words";

/** Time and memory, tried on this machine. */
export function Cost({ cost }: { cost: Preview["cost"] }) {
  const t = useText();
  if (!cost)
    return (
      <p className="quiet" role="status">
        {t("improve.trying")}
      </p>
    );
  const memory = { needs: gigabytes(cost.memory_bytes), free: gigabytes(cost.free_memory_bytes) };
  return (
    <p role="status">
      {t("improve.time", { low: duration(cost.low_s, t), high: duration(cost.high_s, t) })} ·{" "}
      {cost.fits ? t("improve.fits", memory) : <strong>{t("improve.too_big", memory)}</strong>}
    </p>
  );
}
