import { useEffect, useRef, useState, type ReactNode } from "react";
import { Button } from "./Button";
import type { IconName } from "./Icon";

/** A button that opens a short list of buttons; closes on a choice, on Escape and on a click elsewhere. */
export function Menu(props: { label: string; icon: IconName; children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: PointerEvent) => {
      if (!ref.current!.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  return (
    <div
      className="menu"
      ref={ref}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open) return;
        event.stopPropagation();
        setOpen(false);
        ref.current!.querySelector("button")!.focus();
      }}
    >
      <Button
        look="plain"
        icon={props.icon}
        aria-label={props.label}
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      />
      {open && <ul onClick={() => setOpen(false)}>{props.children}</ul>}
    </div>
  );
}
