import { useEffect, useState } from "react";
import { go, useRoute } from "../app/route";
import { useStatus } from "../app/session";
import { ChatView } from "./ChatView";
import { conversationOf, keep } from "./chats";
import { Conversation } from "./conversation";

/** `/chat` is a chat that has yet to begin, `/chat/ID` one that has. */
export function ChatPage() {
  const [, id] = useRoute();
  return id ? <ChatView key={id} conversation={conversationOf(id)} /> : <NewChat />;
}

function NewChat() {
  const status = useStatus();
  const preset = status?.settings.may_teach_default;
  const [conversation, setConversation] = useState<Conversation | null>(null);
  useEffect(() => {
    if (preset !== undefined) setConversation((begun) => begun ?? Conversation.begin(preset));
  }, [preset]);
  if (!conversation) return null;
  return (
    <ChatView
      conversation={conversation}
      onFirst={() => {
        keep(conversation);
        go(`/chat/${conversation.id}`, "replace");
      }}
    />
  );
}
