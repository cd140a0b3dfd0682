/** A share with its interval on a line from 0 to 100 %, one half marked: drawn beside the words that say it. */
export function IntervalBar({ mean, low, high }: { mean: number; low: number; high: number }) {
  const x = (share: number) => 4 + 292 * share;
  return (
    <svg className="interval" viewBox="0 0 300 24" aria-hidden="true">
      <line className="axis" x1={x(0)} x2={x(1)} y1={12} y2={12} />
      <line className="half" x1={x(0.5)} x2={x(0.5)} y1={2} y2={22} />
      <line className="range" x1={x(low)} x2={x(high)} y1={12} y2={12} />
      <circle cx={x(mean)} cy={12} r={5} />
    </svg>
  );
}
