/** What a message asks to be drawn: `/draw a red circle` or `/그리기 빨간 동그라미`; null: it is an ordinary message. */
export function pictureWanted(text: string): string | null {
  const found = /^\/(?:draw|그리기)(?:\s+([\s\S]*))?$/i.exec(text.trim());
  return found ? (found[1] ?? "").trim() : null;
}
