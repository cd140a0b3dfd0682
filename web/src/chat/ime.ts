/**
 * When Enter sends, with input methods in between.
 *
 * Korean: the syllable under the cursor is always being composed, so the one Enter that a person presses reaches the
 * page while it is. It must send the whole text, once. Systems differ in what the page sees of it: a key 229 and then
 * a clean Enter, a key 229 alone, or the end of the composition and then Enter. Japanese, Chinese: Enter picks a
 * candidate, and never sends. The two are told apart by the text that is being composed: Hangul alone, or anything else.
 */
const HANGUL = /^[\u1100-\u11ff\u3130-\u318f\ua960-\ua97c\uac00-\ud7fb]+$/u;

const PROCESSED_BY_IME = 229;

export interface EnterKey {
  isComposing: boolean;
  keyCode: number;
  shiftKey: boolean;
}

export class EnterToSend {
  private composing = "";
  /** The text of a composition that has ended since the last key. */
  private ended = "";
  /** An Enter that will send when the composition ends. */
  private waiting = false;
  /** An Enter, still down, that the input method took. */
  private taken = false;

  /** `send` reads the field itself: what a framework knows of it may lack the last syllable. */
  constructor(private readonly send: () => void) {}

  compose(text: string): void {
    // Going on composing after Enter: the input method kept that Enter for itself.
    if (text !== this.composing) this.waiting = false;
    this.composing = text;
  }

  end(text: string): void {
    this.ended = text || this.composing;
    this.composing = "";
    if (!this.waiting) return;
    this.waiting = false;
    this.send();
  }

  /** An Enter goes down; true: the page takes it, and no line break may come of it. */
  enterDown(key: EnterKey): boolean {
    if (key.isComposing || this.composing) {
      this.waiting = !key.shiftKey && HANGUL.test(this.composing);
      this.taken = !this.waiting && !key.shiftKey;
      return !key.isComposing && this.waiting;
    }
    if (key.shiftKey) return false;
    // Safari ends the composition first and then reports its Enter as 229.
    const candidate = this.taken || (key.keyCode === PROCESSED_BY_IME && !HANGUL.test(this.ended));
    if (!candidate) this.send();
    return true;
  }

  enterUp(): void {
    this.taken = false;
  }

  otherKey(): void {
    this.waiting = false;
    this.taken = false;
    this.ended = "";
  }
}
