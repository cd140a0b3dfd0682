import { measureName } from "../app/names";
import { useText } from "../text";

const WIDTH = 300;
const HEIGHT = 90;

/** A small curve of one figure over steps; its newest value is said beside it. */
export function Curve({ name, points }: { name: string; points: [number, number][] }) {
  const t = useText();
  const last = points.at(-1);
  if (!last) return null;
  const [steps, values] = [points.map(([step]) => step), points.map(([, value]) => value)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, end] = [steps[0]!, steps.at(-1)!];
  const x = (step: number) => 4 + ((WIDTH - 8) * (step - first)) / (end - first || 1);
  const y = (value: number) => HEIGHT - 6 - ((HEIGHT - 12) * (value - low)) / (high - low || 1);
  return (
    <figure className="curve">
      <figcaption className="small">
        {measureName(name, t)} <strong>{last[1].toPrecision(3)}</strong>{" "}
        <span className="quiet">{t("curve.step", { n: last[0] })}</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
        <polyline points={points.map(([step, value]) => `${x(step)},${y(value)}`).join(" ")} />
      </svg>
    </figure>
  );
}
