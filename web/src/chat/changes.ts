const listeners = new Set<() => void>();

/** Tell the history that titles, order or number of chats are others than before. */
export function chatsChanged(): void {
  listeners.forEach((listener) => listener());
}

export function onChatsChanged(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
