import { useEffect, useLayoutEffect, useRef, useState, type CompositionEvent, type KeyboardEvent } from "react";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { EnterToSend } from "./ime";

interface Props {
  draft: string;
  onDraft: (text: string) => void;
  onSend: (text: string) => void;
  onStop: () => void;
  onEditLast: () => void;
  onSettings: () => void;
  busy: boolean;
  /** As it is now, not as it was drawn. */
  isBusy: () => boolean;
}

/** Where a person writes. The field itself holds the text: an input method and a framework must not share it. */
export function Composer(props: Props) {
  const t = useText();
  const field = useRef<HTMLTextAreaElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const [empty, setEmpty] = useState(!props.draft.trim());

  const changed = () => {
    const { value, style, scrollHeight } = field.current!;
    latest.current.onDraft(value);
    setEmpty(!value.trim());
    style.height = "auto";
    style.height = `${Math.max(scrollHeight, field.current!.scrollHeight)}px`;
  };
  const send = () => {
    const text = field.current?.value.trim();
    if (!text || latest.current.isBusy()) return;
    field.current!.value = "";
    changed();
    latest.current.onSend(text);
  };
  // One turn later: some browsers put the last syllable into the field after they say that the composition has ended.
  const [enter] = useState(() => new EnterToSend(() => setTimeout(send)));

  useLayoutEffect(() => {
    if (field.current!.value === props.draft) return;
    field.current!.value = props.draft;
    changed();
  }, [props.draft]);
  useEffect(() => field.current!.focus({ preventScroll: true }), []);

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    const { nativeEvent: key } = event;
    if (key.key === "Enter" || key.code === "Enter" || key.code === "NumpadEnter") {
      if (enter.enterDown(key)) event.preventDefault();
      return;
    }
    enter.otherKey();
    if (key.isComposing) return;
    if (key.key === "ArrowUp" && !event.currentTarget.value && !props.busy) {
      event.preventDefault();
      props.onEditLast();
    }
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={field}
        rows={1}
        defaultValue={props.draft}
        aria-label={t("composer.label")}
        placeholder={t("composer.label")}
        enterKeyHint="send"
        onInput={changed}
        onKeyDown={onKeyDown}
        onKeyUp={(event) => event.key === "Enter" && enter.enterUp()}
        onCompositionStart={(event: CompositionEvent) => enter.compose(event.data)}
        onCompositionUpdate={(event: CompositionEvent) => enter.compose(event.data)}
        onCompositionEnd={(event: CompositionEvent) => enter.end(event.data)}
      />
      <Button
        look="plain"
        icon="sliders"
        aria-label={t("settings.title")}
        title={t("settings.title")}
        onClick={props.onSettings}
      />
      {props.busy ? (
        <Button
          look="main"
          icon="stop"
          aria-label={t("composer.stop")}
          title={t("composer.stop")}
          onClick={props.onStop}
        />
      ) : (
        <Button
          look="main"
          icon="send"
          type="submit"
          aria-label={t("composer.send")}
          title={t("composer.send")}
          disabled={empty}
        />
      )}
    </form>
  );
}
