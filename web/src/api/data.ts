// The data as the server tells it: what is looked up, what is learned from, files in and out.
import { send } from "./client";

export type Kind = "documents" | "conversations" | "rankings" | "prompts" | "chats";

export interface PreviewRow {
  where: string;
  texts: { title: string; pieces: { text: string; learned: boolean }[] }[];
}

export interface Upload {
  id: string;
  kind: Kind;
  name: string;
  n_rows: number;
  rows: PreviewRow[];
  learned: number | null;
  n_too_long: number;
  left_out: Record<string, number>;
  problem: null | { code: string; message: string };
  command: string;
}

export interface Added {
  kind: Kind;
  n: number;
  n_known: number;
  left_out: Record<string, number>;
}

export interface DataOverview {
  documents: number;
  answers: number;
  rankings: number;
  snapshots: number;
  n_withheld_chats: number;
  command: string;
}

export interface Documents {
  titles: string[];
  files: number;
  passages: number;
  documents: { file: string; passages: number; added: boolean }[];
}

export interface Answers {
  n: number;
  answers: { question: string; text: string; person: string; kind: string; instead_of: string | null }[];
}

export interface Rankings {
  n: number;
  n_better: number;
  cap: number | null;
  people: { name: string; n: number; simulated: boolean }[];
  rankings: {
    question: string;
    person: string;
    simulated: boolean;
    heldout: boolean;
    answers: { rank: number; text: string }[];
  }[];
}

export interface Snapshot {
  name: string;
  what: "rankings" | "answers";
  n: number;
  people: { id: string; name: string; n: number }[];
  created_at: string;
  run: string | null;
  there: boolean;
}

export interface WithData {
  id: string;
  name: string;
  simulated: boolean;
  account: boolean;
  n_rankings: number;
  n_answers: number;
}

export interface Learning {
  snapshots: string[];
  artefacts: { kind: string; run: string; hash: string }[];
  versions: string[];
  /** After a person is forgotten: files that still hold what they said, or their name. */
  files?: string[];
}

/** Send a file to be looked at; nothing is added yet. */
export async function upload(file: File): Promise<Upload> {
  const response = await send("POST", `/api/data/uploads?name=${encodeURIComponent(file.name)}`, file);
  return (await response.json()) as Upload;
}
