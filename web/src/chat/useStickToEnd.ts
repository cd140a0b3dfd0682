import { useEffect, useRef, type RefObject } from "react";

const NEAR_PX = 80;

/** Keeps the end in view while an answer grows, unless the person scrolled away from it. */
export function useStickToEnd(scroller: RefObject<HTMLElement | null>, growing: boolean): void {
  const atEnd = useRef(true);
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const toEnd = () => {
      if (atEnd.current) element.scrollTop = element.scrollHeight;
    };
    const onScroll = () => {
      atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
    };
    const sizes = new ResizeObserver(toEnd);
    sizes.observe(element.firstElementChild!);
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      sizes.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  });
  useEffect(() => {
    if (!growing || !scroller.current) return;
    atEnd.current = true;
    scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [growing, scroller]);
}
