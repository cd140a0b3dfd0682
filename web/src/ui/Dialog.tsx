import { useId, useLayoutEffect, useRef, type ReactNode } from "react";
import { useText } from "../text";
import { Button } from "./Button";

/** A sheet over the page. The browser keeps the focus inside and closes it on Escape. */
export function Dialog(props: { title: string; onClose: () => void; wide?: boolean; children: ReactNode }) {
  const t = useText();
  const ref = useRef<HTMLDialogElement>(null);
  const title = useId();
  // Closed while it is still in the page: only then does the browser give the focus back.
  useLayoutEffect(() => {
    const dialog = ref.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={props.wide ? "wide" : ""}
      aria-labelledby={title}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onClick={(event) => event.target === ref.current && props.onClose()}
    >
      <div className="inside">
        <div className="row spread title">
          <h2 id={title}>{props.title}</h2>
          <Button look="plain" icon="close" aria-label={t("close")} onClick={props.onClose} />
        </div>
        {props.children}
      </div>
    </dialog>
  );
}
