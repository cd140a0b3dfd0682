import { useEffect, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";

type Point = { x: number; y: number };
type Stroke = { points: Point[]; width: number };

const THINNEST = 0.04;
const THICKEST = 0.5;
const KEY_STEP = 0.05;
const PAINT = "rgb(29 106 102 / 65%)";

interface Props {
  url: string;
  onDone: (mask: string) => void;
  onClose: () => void;
}

/** Paints over a part of a picture, by mouse, finger or keyboard. Points and widths are shares of the picture's width. */
export function Brush({ url, onDone, onClose }: Props) {
  const t = useText();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState<{ width: number; height: number } | null>(null);
  const [strokes, setStrokes] = useState<Stroke[]>([]);
  const [width, setWidth] = useState(0.15);
  const [cursor, setCursor] = useState<Point>({ x: 0.5, y: 0.5 });
  const painting = useRef(false);

  const aspect = size ? size.height / size.width : 1;
  useEffect(() => {
    if (!size) return;
    const context = canvas.current!.getContext("2d")!;
    context.clearRect(0, 0, size.width, size.height);
    paint(context, strokes, size.width, PAINT);
  }, [strokes, size]);

  const at = (event: PointerEvent): Point => {
    const box = canvas.current!.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: ((event.clientY - box.top) / box.height) * aspect };
  };
  const begin = (point: Point) => setStrokes((all) => [...all, { points: [point], width }]);
  const extend = (point: Point) =>
    setStrokes((all) => {
      const last = all.at(-1);
      return last ? [...all.slice(0, -1), { ...last, points: [...last.points, point] }] : all;
    });
  const thicker = (share: number) => setWidth((now) => Math.min(THICKEST, Math.max(THINNEST, now * share)));
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, Point> = {
      ArrowLeft: { x: -KEY_STEP, y: 0 }, ArrowRight: { x: KEY_STEP, y: 0 },
      ArrowUp: { x: 0, y: -KEY_STEP }, ArrowDown: { x: 0, y: KEY_STEP },
    };
    const move = moves[event.key];
    if (move)
      setCursor(({ x, y }) => ({
        x: Math.min(1, Math.max(0, x + move.x)),
        y: Math.min(aspect, Math.max(0, y + move.y)),
      }));
    else if (event.key === " ") begin(cursor);
    else if (event.key === "+" || event.key === "=") thicker(1.25);
    else if (event.key === "-") thicker(0.8);
    else return;
    event.preventDefault();
  };
  const done = () => {
    const mask = document.createElement("canvas");
    Object.assign(mask, size);
    const context = mask.getContext("2d")!;
    context.fillStyle = "#000";
    context.fillRect(0, 0, size!.width, size!.height);
    paint(context, strokes, size!.width, "#fff");
    onDone(mask.toDataURL("image/png").split(",")[1]!);
  };

  return (
    <Dialog title={t("draw.brush")} onClose={onClose}>
      <div className="brush">
        <img
          src={url}
          alt={t("draw.start.shown")}
          onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) =>
            setSize({ width: naturalWidth, height: naturalHeight })
          }
        />
        {size && (
          <canvas
            ref={canvas}
            {...size}
            role="application"
            tabIndex={0}
            aria-label={t("draw.brush")}
            aria-describedby="brush-keys"
            onPointerDown={(event) => {
              event.currentTarget.setPointerCapture(event.pointerId);
              painting.current = true;
              begin(at(event));
            }}
            onPointerMove={(event) => {
              setCursor(at(event));
              if (painting.current) extend(at(event));
            }}
            onPointerUp={() => (painting.current = false)}
            onPointerCancel={() => (painting.current = false)}
            onKeyDown={onKeyDown}
          />
        )}
        <span
          className="tip"
          aria-hidden="true"
          style={{ left: `${cursor.x * 100}%`, top: `${(cursor.y / aspect) * 100}%`, width: `${width * 100}%` }}
        />
      </div>
      <p id="brush-keys" className="small quiet">
        {t("draw.brush.keys")}
      </p>
      <div className="row spread">
        <div className="row">
          <Button onClick={() => thicker(0.8)}>{t("draw.brush.smaller")}</Button>
          <Button onClick={() => thicker(1.25)}>{t("draw.brush.bigger")}</Button>
          <Button disabled={!strokes.length} onClick={() => setStrokes((all) => all.slice(0, -1))}>
            {t("draw.brush.undo")}
          </Button>
          <Button disabled={!strokes.length} onClick={() => setStrokes([])}>
            {t("draw.brush.clear")}
          </Button>
        </div>
        <Button look="main" disabled={!strokes.length || !size} onClick={done}>
          {t("draw.brush.done")}
        </Button>
      </div>
    </Dialog>
  );
}

function paint(context: CanvasRenderingContext2D, strokes: Stroke[], scale: number, colour: string): void {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour;
  for (const { points, width } of strokes) {
    context.lineWidth = width * scale;
    context.beginPath();
    const [first, ...rest] = points;
    if (!rest.length) {
      context.arc(first!.x * scale, first!.y * scale, (width * scale) / 2, 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    context.moveTo(first!.x * scale, first!.y * scale);
    for (const point of rest) context.lineTo(point.x * scale, point.y * scale);
    context.stroke();
  }
}
