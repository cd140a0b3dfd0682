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

/** Another person signs in: nothing of the one before stays in memory. */
export function forgetChats(): void {
  open.clear();
}
