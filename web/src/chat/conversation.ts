import { useEffect, useSyncExternalStore } from "react";
import { ApiError, faultFrom, get, newId, patch, post, put } from "../api/client";
import { events } from "../api/events";
import type { Chat, Comparison, Fault, FullChat, Message, Pane, StreamEvent, Verdict } from "../api/types";
import { chatsChanged } from "./changes";
import { leafUnder, withMessage } from "./tree";

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

const REDRAW_MS = 40;

/** One chat as this page knows it. It lives outside the components: an answer goes on while another page is shown. */
export class Conversation {
  draft = "";
  private state: State = { chat: null, live: null, comparing: null, unsent: null, fault: null };
  private stored = true;
  private abort: AbortController | null = null;
  private readonly listeners = new Set<() => void>();
  private readonly saying = { turns: 0, last: Promise.resolve(true) };
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

  async load(): Promise<void> {
    if (!this.stored || this.abort) return;
    try {
      const chat = await get<FullChat>(`/api/chats/${this.id}`);
      const open = chat.comparisons[0];
      const comparing = open && { parent: open.parent, texts: { a: open.a.text, b: open.b.text }, comparison: open };
      this.set({ chat, fault: null, comparing: comparing ?? null });
    } catch (error) {
      this.set({ fault: faultFrom(error) });
    }
  }

  /** Say `text` after the message `parent`; to edit a message is to say another after the same parent. */
  async say(text: string, parent: string | null): Promise<void> {
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

  again(parent: string): Promise<void> {
    return this.answer("answers", { parent, answer_id: newId() }, parent);
  }

  stop(): void {
    const { live } = this.state;
    if (live) post(`/api/chats/${this.id}/stop`, { answer_id: live.answerId }).catch(() => this.abort?.abort());
  }

  /** Show the branch of a message, down to its newest reply. */
  show(message: Message): void {
    const head = leafUnder(this.state.chat!.messages, message.id);
    this.edit(() => ({ head }));
    void this.change({ head });
  }

  async change(fields: Partial<Pick<FullChat, "title" | "system" | "sampling" | "may_teach" | "head">>): Promise<void> {
    const before = this.state.chat!;
    this.edit(() => fields);
    if (!this.stored) return;
    try {
      await patch<Chat>(`/api/chats/${this.id}`, fields);
      chatsChanged();
    } catch (error) {
      this.set({ chat: { ...before, messages: this.state.chat!.messages }, fault: faultFrom(error) });
    }
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
    this.set({ comparing: { parent, texts: { a: "", b: "" }, comparison: null }, fault: null });
    await this.follow(`/api/chats/${this.id}/compare`, { parent, id: newId() });
    if (!this.state.comparing?.comparison) this.set({ comparing: null });
  }

  async judge(verdict: Verdict): Promise<void> {
    const { comparing } = this.state;
    try {
      const comparison = await put<Comparison>(`/api/comparisons/${comparing!.comparison!.id}`, { verdict });
      const chat = await get<FullChat>(`/api/chats/${this.id}`);
      this.set({ chat, comparing: { ...comparing!, comparison }, fault: null });
    } catch (error) {
      this.set({ fault: faultFrom(error) });
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
  private async create(): Promise<boolean> {
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
    await this.load();
    if (fault) this.set({ fault });
  }

  private take(event: StreamEvent): void {
    const { live, comparing } = this.state;
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
      if (event.pane) this.set({ comparing: withText(comparing!, event.pane, event.text) });
      else this.set({ live: { ...live!, text: live!.text + event.text, phase: "writing" } });
    } else if (live) {
      if (event.type === "queued") this.set({ live: { ...live, phase: "queued", position: event.position } });
      else this.set({ live: { ...live, phase: event.phase, nTokens: event.n_tokens ?? live.nTokens } });
    }
  }

  private put(message: Message, head?: string): void {
    this.edit((chat) => ({ messages: withMessage(chat.messages, message), head: head ?? chat.head }));
  }

  private edit(change: (chat: FullChat) => Partial<FullChat>): void {
    const chat = this.state.chat!;
    this.set({ chat: { ...chat, ...change(chat) } });
  }

  /** Many small pieces of an answer make one redraw. */
  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.listeners.forEach((listener) => listener());
    }, REDRAW_MS);
  }
}

function withText(comparing: Comparing, pane: Pane, text: string): Comparing {
  return { ...comparing, texts: { ...comparing.texts, [pane]: comparing.texts[pane] + text } };
}

export function useConversation(conversation: Conversation): State {
  useEffect(() => void conversation.load(), [conversation]);
  return useSyncExternalStore(conversation.subscribe, conversation.snapshot);
}
