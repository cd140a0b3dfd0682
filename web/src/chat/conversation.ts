import { useEffect, useSyncExternalStore } from "react";
import { ApiError, faultFrom, get, newId, patch, post, put } from "../api/client";
import { events } from "../api/events";
import type { Chat, Comparison, Fault, FullChat, Message, Pane, StreamEvent, Verdict } from "../api/types";
import { inTurn } from "../ui/inTurn";
import { chatsChanged } from "./changes";
import { leafUnder, pathTo, siblings, withMessage } from "./tree";

/** An answer that is being made. */
export interface Live {
  answerId: string;
  parent: string;
  text: string;
  phase: "sending" | "queued" | "looking_up" | "reading" | "writing";
  position: number;
  nTokens: number;
}

/** Two nameless answers, being made or waiting for a verdict. */
export interface Comparing {
  parent: string;
  texts: Record<Pane, string>;
  comparison: Comparison | null;
}

/** A message that the server has not: the same text sent again keeps its ids, so that nothing is stored twice. */
interface Unsent {
  id: string;
  parent: string | null;
  text: string;
  answer_id: string;
}

export interface State {
  chat: FullChat | null;
  live: Live | null;
  comparing: Comparing | null;
  unsent: Unsent | null;
  fault: Fault | null;
}

type Changes = Partial<Pick<FullChat, "title" | "system" | "sampling" | "may_teach" | "head">>;

const REDRAW_MS = 40;

/** One chat as this page knows it. It lives outside the components: an answer goes on while another page is shown. */
export class Conversation {
  draft = "";
  private state: State = { chat: null, live: null, comparing: null, unsent: null, fault: null };
  private stored = true;
  private abort: AbortController | null = null;
  private readonly listeners = new Set<() => void>();
  private readonly saying = { turns: 0, last: Promise.resolve(true) };
  private readonly after = inTurn();
  private edits = 0;
  private judging = false;
  private stopWanted: string | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(readonly id: string) {}

  /** A chat that the server learns of with its first message. */
  static begin(mayTeach: boolean): Conversation {
    const conversation = new Conversation(newId());
    const now = new Date().toISOString();
    const chat = { id: conversation.id, title: null, created_at: now, updated_at: now, may_teach: mayTeach };
    conversation.stored = false;
    conversation.state.chat = {
      ...chat,
      system: "",
      sampling: {},
      n_messages: 0,
      messages: [],
      head: null,
      comparisons: [],
    };
    return conversation;
  }

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };

  readonly snapshot = () => this.state;

  /** Whether an answer is being made: then nothing else is asked. What is drawn may know of it a moment later. */
  get busy(): boolean {
    const { live, comparing } = this.state;
    return live !== null || (comparing !== null && comparing.comparison === null);
  }

  load(): Promise<void> {
    return this.fetch(false);
  }

  /** own: asked for by the answer that is being made, which has broken off */
  private async fetch(own: boolean): Promise<void> {
    if (!this.stored || (this.busy && !own)) return;
    const { edits } = this;
    try {
      const chat = await get<FullChat>(`/api/chats/${this.id}`);
      // What was said meanwhile may not be in it.
      if (this.busy && !own) return;
      if (edits !== this.edits) return await this.fetch(own);
      const open = chat.comparisons[0];
      const comparing = open && { parent: open.parent, texts: { a: open.a.text, b: open.b.text }, comparison: open };
      this.set({ chat, fault: null, comparing: comparing ?? null });
    } catch (error) {
      this.set({ fault: faultFrom(error) });
    }
  }

  /** Say `text` after the message `parent`; to edit a message is to say another after the same parent. */
  async say(text: string, parent: string | null): Promise<void> {
    if (this.busy) return;
    const { unsent } = this.state;
    const again = unsent?.text === text && unsent.parent === parent;
    const body = again ? unsent : { id: newId(), parent, text, answer_id: newId() };
    const shown: Message = {
      id: body.id,
      parent,
      role: "user",
      text,
      created_at: new Date().toISOString(),
      finish: null,
      error: null,
      answer: null,
      vote: null,
      better: null,
    };
    const before = this.state.chat!.head;
    this.put(shown, body.id);
    this.set({ unsent: body });
    await this.answer("messages", body, body.id);
    if (!this.state.unsent) return;
    this.edit((chat) => ({ messages: chat.messages.filter(({ id }) => id !== body.id), head: before }));
  }

  async again(parent: string): Promise<void> {
    if (!this.busy) await this.answer("answers", { parent, answer_id: newId() }, parent);
  }

  stop(): void {
    const { live } = this.state;
    if (!live) return;
    this.stopWanted = live.answerId;
    this.askToStop(live.answerId);
  }

  private askToStop(answerId: string): void {
    post(`/api/chats/${this.id}/stop`, { answer_id: answerId }).catch(() => this.abort?.abort());
  }

  /** Show the alternative that lies some steps after the one of this message's alternatives that is shown now. */
  turn(message: Message, step: number): void {
    const { messages, head } = this.state.chat!;
    const alternatives = siblings(messages, message);
    const shown = pathTo(messages, head).find(({ id }) => alternatives.some((other) => other.id === id)) ?? message;
    const next = alternatives[alternatives.findIndex(({ id }) => id === shown.id) + step];
    if (next && !this.busy) void this.change({ head: leafUnder(messages, next.id) });
  }

  /** Shown at once, and told to the server in the order of the changes. */
  async change(fields: Changes): Promise<void> {
    const before = this.state.chat!;
    this.edit(() => fields);
    await this.after(async () => {
      if (!this.stored) return;
      try {
        await patch<Chat>(`/api/chats/${this.id}`, fields);
        chatsChanged();
      } catch (error) {
        this.edit((chat) => undone(chat, fields, before));
        this.set({ fault: faultFrom(error) });
      }
    });
  }

  /**
   * Says something about an answer: shown at once, told to the server after what was said before it. `change` is given
   * the answer as it is now, not as it was drawn: of two quick clicks the second must know of the first.
   */
  sayAbout(
    id: string,
    change: (message: Message) => Partial<Message>,
    ask: (changed: Message) => Promise<Message>,
  ): Promise<boolean> {
    const before = this.state.chat!.messages.find((message) => message.id === id)!;
    const changed = { ...before, ...change(before) };
    this.put(changed);
    const turn = ++this.saying.turns;
    const said = this.saying.last.then(async () => {
      try {
        const answered = await ask(changed);
        if (turn === this.saying.turns) this.put(answered);
        return true;
      } catch (error) {
        this.set({ fault: faultFrom(error) });
        if (turn === this.saying.turns) this.put(before);
        return false;
      }
    });
    this.saying.last = said;
    return said;
  }

  async compare(parent: string): Promise<void> {
    if (this.busy) return;
    this.set({ comparing: { parent, texts: { a: "", b: "" }, comparison: null }, fault: null });
    await this.after(() => Promise.resolve());
    await this.follow(`/api/chats/${this.id}/compare`, { parent, id: newId() });
    if (!this.state.comparing?.comparison) this.set({ comparing: null });
  }

  async judge(verdict: Verdict): Promise<void> {
    const { comparing } = this.state;
    if (!comparing?.comparison || comparing.comparison.revealed || this.judging) return;
    this.judging = true;
    try {
      const comparison = await put<Comparison>(`/api/comparisons/${comparing.comparison.id}`, { verdict });
      const { messages, head } = await get<FullChat>(`/api/chats/${this.id}`);
      // What is being said just now is not among them.
      this.edit((chat) => ({
        messages: messages.reduce(withMessage, chat.messages),
        head: this.state.live ? chat.head : head,
      }));
      if (this.state.comparing === comparing) this.set({ comparing: { ...comparing, comparison } });
      this.set({ fault: null });
    } catch (error) {
      this.set({ fault: faultFrom(error) });
    } finally {
      this.judging = false;
    }
  }

  closeComparison(): void {
    this.set({ comparing: null });
  }

  dismissFault(): void {
    this.set({ fault: null });
  }

  private async answer(
    kind: "messages" | "answers",
    body: { answer_id: string; parent: string | null },
    parent: string,
  ): Promise<void> {
    const live: Live = { answerId: body.answer_id, parent, text: "", phase: "sending", position: 0, nTokens: 0 };
    this.set({ live, fault: null });
    if (await this.create()) await this.follow(`/api/chats/${this.id}/${kind}`, body);
    this.set({ live: null });
    chatsChanged();
  }

  /** Tell the server of a new chat; true when it knows the chat. */
  private create(): Promise<boolean> {
    return this.after(() => this.createNow());
  }

  private async createNow(): Promise<boolean> {
    if (this.stored) return true;
    const { id, system, sampling, may_teach } = this.state.chat!;
    try {
      await post<Chat>("/api/chats", { id, system, sampling, may_teach });
      this.stored = true;
    } catch (error) {
      this.set({ fault: faultFrom(error) });
    }
    return this.stored;
  }

  private async follow(path: string, body: unknown): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    let whole = false;
    try {
      for await (const event of events(path, body, abort.signal)) {
        this.take(event);
        whole ||= event.type === "done" || event.type === "error";
      }
      if (!whole) throw new ApiError({ code: "broken_off", message: "The connection broke off." });
    } catch (error) {
      if (!abort.signal.aborted) this.set({ fault: faultFrom(error) });
    } finally {
      this.abort = null;
    }
    // What broke off under way may be stored: the server knows.
    if (!whole && !this.state.unsent) await this.reload();
  }

  private async reload(): Promise<void> {
    const { fault } = this.state;
    await this.fetch(true);
    if (fault) this.set({ fault });
  }

  private take(event: StreamEvent): void {
    const { live, comparing } = this.state;
    if (live && this.stopWanted === live.answerId) {
      // The server had not begun when it was asked to stop.
      this.stopWanted = null;
      this.askToStop(live.answerId);
    }
    if (event.type === "message") {
      this.put(event.message, event.message.id);
      this.set({ unsent: null });
    } else if (event.type === "error") {
      if (event.message) this.put(event.message, event.message.id);
      if (event.message?.finish !== "stopped") this.set({ fault: event.error });
    } else if (event.type === "done") {
      if (event.message) this.put(event.message, event.message.id);
      if (event.comparison) this.set({ comparing: { ...comparing!, comparison: event.comparison } });
      if (event.message) this.set({ live: null, unsent: null });
    } else if (event.type === "text") {
      if (event.pane) this.setSoon({ comparing: withText(comparing!, event.pane, event.text) });
      else this.setSoon({ live: { ...live!, text: live!.text + event.text, phase: "writing" } });
    } else if (live) {
      if (event.type === "queued") this.setSoon({ live: { ...live, phase: "queued", position: event.position } });
      else this.setSoon({ live: { ...live, phase: event.phase, nTokens: event.n_tokens ?? live.nTokens } });
    }
  }

  private put(message: Message, head?: string): void {
    this.edit((chat) => ({ messages: withMessage(chat.messages, message), head: head ?? chat.head }));
  }

  private edit(change: (chat: FullChat) => Partial<FullChat>): void {
    this.edits++;
    const chat = this.state.chat!;
    this.set({ chat: { ...chat, ...change(chat) } });
  }

  /** Drawn at once: what a person does is seen before the next click. */
  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    clearTimeout(this.timer ?? undefined);
    this.timer = null;
    this.listeners.forEach((listener) => listener());
  }

  /** Many small pieces of an answer make one redraw. */
  private setSoon(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.timer ??= setTimeout(() => this.set({}), REDRAW_MS);
  }
}

/** What a change that failed leaves: what was before it, unless it was changed again since. */
function undone(chat: FullChat, fields: Changes, before: FullChat): Changes {
  const names = Object.keys(fields) as (keyof Changes)[];
  return Object.fromEntries(names.filter((name) => chat[name] === fields[name]).map((name) => [name, before[name]]));
}

function withText(comparing: Comparing, pane: Pane, text: string): Comparing {
  return { ...comparing, texts: { ...comparing.texts, [pane]: comparing.texts[pane] + text } };
}

export function useConversation(conversation: Conversation): State {
  useEffect(() => void conversation.load(), [conversation]);
  return useSyncExternalStore(conversation.subscribe, conversation.snapshot);
}
