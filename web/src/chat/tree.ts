import type { Message } from "../api/types";

/** The messages from the first one down to `head`. */
export function pathTo(messages: Message[], head: string | null): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path: Message[] = [];
  for (let message = head === null ? undefined : byId.get(head); message;) {
    path.unshift(message);
    message = message.parent === null ? undefined : byId.get(message.parent);
  }
  return path;
}

/** The alternatives to a message, itself among them, oldest first. */
export function siblings(messages: Message[], message: Message): Message[] {
  return messages.filter((other) => other.parent === message.parent && other.role === message.role);
}

/** Where a conversation that goes on from `id` ends: always the newest reply. */
export function leafUnder(messages: Message[], id: string): string {
  const child = messages.findLast((message) => message.parent === id);
  return child ? leafUnder(messages, child.id) : id;
}

/** The list with `message` in the place of the one of its id, or at the end. */
export function withMessage(messages: Message[], message: Message): Message[] {
  const at = messages.findIndex((other) => other.id === message.id);
  return at < 0 ? [...messages, message] : messages.with(at, message);
}
