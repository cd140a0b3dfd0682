import { Conversation } from "./conversation";

const open = new Map<string, Conversation>();

export function conversationOf(id: string): Conversation {
  let conversation = open.get(id);
  if (!conversation) open.set(id, (conversation = new Conversation(id)));
  return conversation;
}

export function keep(conversation: Conversation): void {
  open.set(conversation.id, conversation);
}

/** Somebody signs out: nothing of theirs stays in memory, for whoever signs in next. */
export function forgetChats(): void {
  open.clear();
}
