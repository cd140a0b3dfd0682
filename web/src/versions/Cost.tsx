import { useText } from "../text";
import { gigabytes } from "./words";

interface Known {
  memory_bytes: number;
  free_memory_bytes: number;
  fits: boolean;
}

interface Props<Found extends Known> {
  cost: Found | null | undefined;
  /** How long it takes, where that is known. */
  time: (cost: Found) => string | null;
  /** What would fit, where it does not. */
  instead?: (cost: Found) => string | null;
}

/** Time and memory, tried on this machine; until they are known, that they are being tried. */
export function Cost<Found extends Known>({ cost, time, instead }: Props<Found>) {
  const t = useText();
  if (!cost)
    return (
      <p className="quiet" role="status">
        {t("improve.trying")}
      </p>
    );
  const memory = { needs: gigabytes(cost.memory_bytes), free: gigabytes(cost.free_memory_bytes) };
  const takes = time(cost);
  return (
    <p role="status">
      {takes && `${takes} · `}
      {cost.fits ? t("improve.fits", memory) : <strong>{t("improve.too_big", memory)}</strong>}
      {!cost.fits && instead && ` ${instead(cost) ?? ""}`}
    </p>
  );
}
