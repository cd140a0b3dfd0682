// What the server sends and takes: docs/reference/api.md says it in words.
export type Role = "owner" | "admin" | "labeler" | "user";

export interface Person {
  id: string;
  name: string;
  role: Role;
}

export interface Member extends Person {
  created_at: string;
  last_seen_at: string | null;
}

export interface People {
  people: Member[];
  invites: { id: string; role: Role; name: string | null; expires_at: string }[];
}

export interface ApiKey {
  id: string;
  name: string;
  person: string;
  prefix: string;
  created_at: string;
  last_used_at: string | null;
}

export interface Settings {
  may_teach_default: boolean;
  taught_answers: boolean;
  people_per_question: number;
}

export interface Me {
  person: Person | null;
  needs_owner: boolean;
  workspace: string;
  /** What a command needs to find the workspace, such as " --workspace demo"; for who is signed in. */
  workspace_option: string | null;
  malmoi: string;
  warning: null | "no_tls";
}

export interface Fault {
  code: string;
  message: string;
  param?: string | null;
  details?: Record<string, string | number | null>;
}

export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  max_tokens?: number;
  seed?: number | null;
}

export interface Service {
  name: string;
  hash: string | null;
  seq_len: number;
  looks_up: null | { files: number; passages: number; titles: string[] };
  sampling: Required<Omit<Sampling, "seed">>;
}

export interface Status {
  service: Service | null;
  problem: Fault | null;
  /** Another version is being loaded, and will answer in its place. */
  changing: boolean;
  queue: { running: number; waiting: number };
  version: string | null;
  draws: boolean;
  job: null | { id: number; kind: string; status: string; stage: string | null; percent: number | null; eta_s: number | null };
  slow: boolean;
  questions: { en: string[]; ko: string[] };
  settings: { may_teach_default: boolean };
}

export interface Chat {
  id: string;
  title: string | null;
  created_at: string;
  updated_at: string;
  may_teach: boolean;
  system: string;
  sampling: Sampling;
  n_messages: number;
  excerpt?: string;
}

export interface Source {
  file: string;
  heading: string;
  line: number;
  place: string;
  sentence: string;
  score: number;
  document: string;
  passage: string;
  person?: string;
  time?: string;
}

export interface Spoken {
  name: string | null;
  voice: string;
  hash: string | null;
  quoted: boolean;
  supported: boolean | null;
  sources: Source[];
  declined: boolean;
  nearest: Source[];
  n_tokens: number;
  n_prompt_tokens: number;
  n_dropped: number;
  seconds: number;
  wait_s: number;
  seed: number | null;
}

export type Reason = "wrong" | "off_topic" | "unclear" | "too_long" | "unsafe";

export interface Vote {
  vote: "up" | "down";
  reasons: Reason[];
  comment: string;
}

export interface Message {
  id: string;
  parent: string | null;
  role: "user" | "assistant";
  text: string;
  created_at: string;
  finish: null | "stop" | "length" | "stopped" | "error";
  error: Fault | null;
  answer: Spoken | null;
  vote: Vote | null;
  better: null | { text: string; created_at: string; withdrawn: boolean };
}

export interface FullChat extends Chat {
  messages: Message[];
  head: string | null;
  comparisons: Comparison[];
}

export type Verdict = "a" | "b" | "same" | "both_bad";
export type Pane = "a" | "b";

export interface Comparison {
  id: string;
  chat: string;
  parent: string;
  a: { text: string };
  b: { text: string };
  verdict: Verdict | null;
  revealed: null | Record<Pane, { voice: string; hash: string | null; temperature: number; message: string }>;
}

export type StreamEvent =
  | { type: "message"; message: Message }
  | { type: "queued"; position: number; pane?: Pane }
  | { type: "phase"; phase: "looking_up" | "reading" | "writing"; n_tokens?: number; pane?: Pane }
  | { type: "text"; text: string; pane?: Pane }
  | { type: "done"; message?: Message; comparison?: Comparison }
  | { type: "error"; error: Fault; message?: Message | null };

export interface Origin {
  answer: string | null;
  voice: string;
  hash: string | null;
  sources: (Source & { row: null | { file: string; row: number; source: string; license: string; origin: string } })[];
  model: null | {
    run: string;
    stage: string;
    recipe: string | null;
    parents: { role: string; run: string; stage: string; kind: string; hash: string }[];
  };
  index: null | { titles: string[]; hash: string; run: string | null };
  /** The reward model that picked the answer from several. */
  reward: null | { hash: string; run: string | null };
  people: null | { n_judgements: number; n_people: number; n_simulated: number };
  command: string;
}

export type Unrankable = "all_bad" | "cant_tell";

export interface Draft {
  order?: { answer: number; tied: boolean }[];
  text?: string;
  touched?: boolean;
}

export interface Said {
  ranks: number[] | null;
  unrankable: Unrankable | null;
  text: string | null;
  note: string;
  saved_at: string;
  version: number;
}

export interface Item {
  id: string;
  kind: "rank" | "write";
  messages: { role: string; content: string }[];
  answers: { id: string; text: string }[];
  lang: string;
  expires_at: string;
  practice: null | { number: number; of: number };
  draft: Draft | null;
  saved: Said | null;
}

export interface Judgement {
  ranks?: number[];
  unrankable?: Unrankable;
  text?: string;
  note?: string;
  active_ms?: number;
  moved?: boolean;
  input?: "mouse" | "keyboard" | "touch";
  extra?: boolean;
}

export interface Saved {
  item: Item;
  practice: null | { right: boolean; explanation: { en: string; ko: string } };
}

export interface TeachState {
  /** Rankings that wait for this person. */
  waiting: number;
  /** Questions that wait for an answer that somebody writes. */
  to_write: number;
  done_today: number;
  goal_today: number;
  practice_left: number;
  n_saved: number;
  agreement: null | { share: number; low: number; high: number; pairs: number; people: number };
}

export type PageLabel = "keep" | "drop" | "unsure";
export type LabelInput = "mouse" | "keyboard" | "touch";

export interface PageToLabel {
  id: string;
  corpus: string;
  text: string;
  title: string;
  source: string;
  language: string;
  label: PageLabel | null;
}

export interface LabelState extends Record<PageLabel, number> {
  corpora: string[];
  corpus: string | null;
  n_waiting: number;
  n_drawn: number;
  mine: number;
  least: number;
  last: string | null;
  people: null | { name: string; n: number }[];
}
