import { useRef, type PointerEvent, type RefObject } from "react";

/** Dragging a row of a list by its handle, with a mouse or a finger: rows make way while the pointer moves. */
export function useDrag(list: RefObject<HTMLElement | null>, onMove: (from: number, to: number) => void) {
  const dragged = useRef<number | null>(null);
  const end = () => {
    dragged.current = null;
    list.current?.classList.remove("dragging");
  };
  return (at: number) => ({
    onPointerDown: (event: PointerEvent<HTMLElement>) => {
      if (event.button !== 0) return;
      event.preventDefault();
      event.currentTarget.setPointerCapture(event.pointerId);
      list.current!.classList.add("dragging");
      dragged.current = at;
    },
    onPointerMove: (event: PointerEvent<HTMLElement>) => {
      if (dragged.current === null) return;
      const to = rowUnder(list.current!, event.clientY, dragged.current);
      if (to === dragged.current) return;
      onMove(dragged.current, to);
      dragged.current = to;
    },
    onPointerUp: end,
    onPointerCancel: end,
  });
}

/** The row that the pointer has passed the middle of. */
function rowUnder(list: HTMLElement, y: number, from: number): number {
  const middles = Array.from(list.children, (row) => {
    const { top, height } = row.getBoundingClientRect();
    return top + height / 2;
  });
  let to = from;
  while (to > 0 && y < middles[to - 1]!) to--;
  while (to < middles.length - 1 && y > middles[to + 1]!) to++;
  return to;
}
