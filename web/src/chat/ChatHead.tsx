import type { FullChat } from "../api/types";
import { useText } from "../text";
import { Switch } from "../ui/Switch";
import type { Conversation } from "./conversation";

/** Whether this chat may teach the assistant, and who can read it. */
export function ChatHead({ chat, conversation }: { chat: FullChat; conversation: Conversation }) {
  const t = useText();
  return (
    <div className="chat-head small">
      <Switch
        label={t("consent.switch")}
        on={chat.may_teach}
        onChange={() => void conversation.change({ may_teach: !conversation.snapshot().chat!.may_teach })}
      />
      <span className="quiet">{chat.may_teach ? t("consent.teaches") : t("consent.private")}</span>
    </div>
  );
}
