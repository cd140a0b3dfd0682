// Versions, improving, jobs and the gate as the server tells them.
export interface Interval {
  mean: number;
  low: number;
  high: number;
  n: number;
}

export type Outcome = "better" | "worse" | "not known yet";
export type How = "best-of-n" | "train";
export type Algorithm = "dpo" | "ppo" | "kto";

export interface Shown {
  question: string;
  candidate: string;
  in_service: string;
}

export interface VersionVerdict {
  outcome: Outcome;
  against: string;
  win_rate: number | null;
  low: number;
  high: number;
  n: number;
  n_waiting: number;
  n_more: number | null;
  ties: number;
  both_bad: number;
  alike: number;
  people: { name: string; n: number; taught: boolean }[];
  length: { candidate: number; in_service: number };
  wins: Shown[];
  losses: Shown[];
  /** Verdicts that the ledger keeps from before do not have the next three. */
  others?: { people: number; n: number; win_rate: number; low: number; high: number } | null;
  judge?: Judged | null;
  regression?: Regression;
}

/** A reward model that learned from other questions than the policy. It decides nothing. */
export interface Judged {
  n: number;
  alike: number;
  win_rate: number | null;
  low: number | null;
  high: number | null;
  accuracy: Interval;
  n_pairs: number;
  counts: boolean;
}

/** What a candidate loses and wins on the pinned questions. */
export interface Regression {
  n: number;
  candidate: number;
  in_service: number;
  lost: Shown[];
  won: Shown[];
  unasked: number;
  margin: number;
  fell: boolean;
}

export interface PinnedQuestion {
  id: string;
  text: string;
  must: string[];
  by: string | null;
}

export interface Learned {
  n_rankings: number;
  n_heldout: number;
  n_pairs: number;
  n_prompts: number;
  people: { name: string; n: number; n_left_out: number; simulated: boolean }[];
  cap: number | null;
  /** Of the rankings, those of a better answer and what it replaces. Versions of before do not say the next five. */
  n_better?: number;
  n_compared?: number;
  n_demonstrations?: number;
  votes?: { up: number; down: number };
  n_waiting_votes?: number;
  n_withheld_chats: number;
  until: string;
}

interface Measured {
  accuracy: Interval;
  n_pairs: number;
  n_prompts: number;
  baselines: { name: string; accuracy: Interval; ahead: Interval }[];
  people: Interval | null;
  alarm: string;
}

/** A reward model on held-out rankings; also without pairs of a better answer, which teach who wrote an answer. */
export interface RewardReport extends Measured {
  counts: boolean;
  without_edited?: Measured | null;
}

export interface Act {
  act: "promote" | "rollback" | "refuse";
  version: string;
  instead_of: string | null;
  by: string | null;
  at: string;
  knowingly: boolean;
  verdict: VersionVerdict | null;
}

export interface Version {
  name: string;
  number: number;
  state: "in_service" | "candidate" | "refused" | "earlier";
  created_at: string;
  by: string | null;
  how: How | "first" | "added";
  model: string;
  hash: string;
  reward_hash: string | null;
  n: number | null;
  from: string | null;
  job: number | null;
  missing: string | null;
  learned_from: Learned | null;
  report: null | { reward_model: RewardReport | null; earlier?: EarlierReport | null; seconds: number };
  verdict: VersionVerdict | null;
  history: Act[];
}

/** The loss on held-out answers of earlier data, in nats per token, before and after it learned from people. */
export interface EarlierReport {
  n: number;
  before: number;
  after: number;
  more: Interval;
}

export interface Versions {
  versions: Version[];
  in_service: string | null;
  fallback: { model: string } | null;
  n_rankings: number;
  n_usual: number;
  command: string;
}

interface Note {
  code: string;
  message: string;
  n?: number;
  usual?: number;
  name?: string;
  names?: string;
}

export interface Preview {
  learned: Learned;
  start: string | null;
  cost: null | {
    seconds: number;
    low_s: number;
    high_s: number;
    memory_bytes: number;
    free_memory_bytes: number;
    fits: boolean;
  };
  problems: Note[];
  remarks: Note[];
  command: string;
}

/** Questions that a job answers again at every checkpoint. */
export interface Pinned {
  questions: string[];
  rows: { stage: string; step: number | null; answers: string[] }[];
}

export interface Job {
  id: number;
  kind: "improve" | "build" | "fetch" | "text";
  pinned?: Pinned | null;
  how: How;
  n: number | null;
  algorithm: Algorithm | null;
  status: "queued" | "running" | "interrupted" | "stopped" | "failed" | "done" | "thrown_away";
  place: number;
  created_at: string;
  stages: { name: string; status: "waiting" | "running" | "done" | "left_out" }[];
  stage: string | null;
  asked: null | "stop" | "throw_away";
  percent: number | null;
  eta_s: number | null;
  curves: Record<string, [number, number][]>;
  log?: string[];
  error: string | null;
  version: string | null;
  command: string;
}

export interface Pair {
  id: string;
  question: string;
  messages: { role: string; content: string }[];
  a: { text: string };
  b: { text: string };
}
