import { useCallback, useEffect, useRef, useState } from "react";
import { go } from "../app/route";
import { useStatus } from "../app/session";
import { pictureWanted } from "../draw/wanted";
import { useText } from "../text";
import { FaultNotice } from "../ui/FaultNotice";
import { ChatHead } from "./ChatHead";
import { ChatSettings } from "./ChatSettings";
import { Composer } from "./Composer";
import { useConversation, type Conversation } from "./conversation";
import { EmptyChat } from "./EmptyChat";
import { Thread } from "./Thread";
import { pathTo } from "./tree";
import { useStickToEnd } from "./useStickToEnd";

interface Props {
  conversation: Conversation;
  onFirst?: () => void;
}

export function ChatView({ conversation, onFirst }: Props) {
  const t = useText();
  const status = useStatus();
  const state = useConversation(conversation);
  const { chat, live, comparing, unsent, fault } = state;
  const [settings, setSettings] = useState(false);
  const [editing, setEditing] = useState<string | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  useStickToEnd(scroller, live !== null || comparing !== null);
  const busy = live !== null || (comparing !== null && comparing.comparison === null);

  const say = useCallback(
    (text: string, parent: string | null) => {
      if (conversation.busy) return;
      const first = !conversation.snapshot().chat!.messages.length;
      void conversation.say(text, parent);
      if (first) onFirst?.();
    },
    [conversation, onFirst],
  );

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) conversation.stop();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [conversation]);

  if (!chat)
    return (
      <div className="page">{fault && <FaultNotice fault={fault} onRetry={() => void conversation.load()} />}</div>
    );
  const path = pathTo(chat.messages, chat.head);
  const lastQuestion = path.findLast(({ role }) => role === "user");
  return (
    <div className="chat">
      <ChatHead conversation={conversation} chat={chat} />
      <div className="scroller" ref={scroller}>
        <div className="thread">
          {path.length === 0 && !live ? (
            <EmptyChat onAsk={(text) => say(text, null)} />
          ) : (
            <Thread conversation={conversation} state={state} editing={editing} onEditing={setEditing} onResend={say} />
          )}
        </div>
      </div>
      <div className="foot">
        {fault && <FaultNotice fault={fault} onClose={() => conversation.dismissFault()} />}
        {status?.slow && <p className="small quiet">{t("chat.slow")}</p>}
        <Composer
          draft={unsent && !live ? unsent.text : conversation.draft}
          onDraft={(text) => {
            conversation.draft = text;
          }}
          onSend={(text) => {
            const wanted = pictureWanted(text);
            if (wanted === null) say(text, conversation.snapshot().chat!.head);
            else go(`/draw?prompt=${encodeURIComponent(wanted)}`);
          }}
          onStop={() => conversation.stop()}
          onEditLast={() => lastQuestion && setEditing(lastQuestion.id)}
          onSettings={() => setSettings(true)}
          busy={busy}
          isBusy={() => conversation.busy}
        />
      </div>
      {settings && <ChatSettings chat={chat} conversation={conversation} onClose={() => setSettings(false)} />}
    </div>
  );
}
