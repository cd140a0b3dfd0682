import { useEffect, useRef, type PointerEvent as ReactPointerEvent, type RefObject } from "react";
import { flushSync } from "react-dom";

const EDGE_PX = 72;
const SCROLL_PX = 14;

type Move = (from: number, to: number, begins: boolean) => void;

/** Dragging a row of a list by its handle, with a mouse or a finger: rows make way while the pointer moves. */
export function useDrag(list: RefObject<HTMLElement | null>, onMove: Move) {
  const dragged = useRef<{ at: number; pointer: number; moved: boolean } | null>(null);
  const latest = useRef(onMove);
  latest.current = onMove;

  // On the window: the row that is dragged changes its place in the page, and would lose a pointer that it had caught.
  useEffect(() => {
    const move = ({ pointerId, clientY }: PointerEvent) => {
      const { current } = dragged;
      if (current?.pointer !== pointerId) return;
      scrollAtEdge(list.current!, clientY);
      const to = rowUnder(list.current!, clientY, current.at);
      if (to === current.at) return;
      // At once: the next move of the pointer is judged by where the rows are then.
      flushSync(() => latest.current(current.at, to, !current.moved));
      current.at = to;
      current.moved = true;
    };
    const end = ({ pointerId }: PointerEvent) => {
      if (dragged.current?.pointer !== pointerId) return;
      dragged.current = null;
      list.current?.classList.remove("dragging");
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
    window.addEventListener("pointercancel", end);
    return () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      window.removeEventListener("pointercancel", end);
    };
  }, [list]);

  return (at: number) => ({
    onPointerDown: (event: ReactPointerEvent<HTMLElement>) => {
      if (event.button !== 0) return;
      event.preventDefault();
      list.current!.classList.add("dragging");
      dragged.current = { at, pointer: event.pointerId, moved: false };
    },
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

function scrollAtEdge(list: HTMLElement, y: number): void {
  const page = list.closest("main")!;
  const { top, bottom } = page.getBoundingClientRect();
  if (y < top + EDGE_PX) page.scrollBy(0, -SCROLL_PX);
  else if (y > bottom - EDGE_PX) page.scrollBy(0, SCROLL_PX);
}
