// What the server sends and takes about pictures: docs/reference/api.md says it in words.
import type { Fault } from "./types";

export interface DrawAbout {
  name: string;
  hash: string;
  knows: { en: string; ko: string };
  size: string;
  sizes: string[];
  steps: number;
  guidance: number;
  sampler: string;
  samplers: string[];
  few_steps: boolean;
  loras: string[];
  most_pictures: number;
  most_steps: number;
}

export interface DrawnPicture {
  id: string;
  seed: number;
}

export interface Drawing {
  id: string;
  number: number;
  kind: "text" | "image" | "inpaint";
  prompt: string;
  negative: string;
  n: number;
  steps: number;
  guidance: number;
  sampler: string;
  seed: number;
  size: string;
  strength?: number;
  /** Name, scale and hash, such as style:0.8 (SHA-256 …). */
  lora?: string;
  model: string;
  hash: string | null;
  created_at: string;
  pictures: DrawnPicture[];
  /** The own picture that it began with; null: it began with words, or with another picture. */
  start_id: string | null;
}

export interface NewDrawing {
  id: string;
  prompt: string;
  negative: string;
  n: number;
  steps: number;
  guidance: number;
  sampler: string;
  seed: number | null;
  size: string;
  start?: string;
  start_id?: string;
  strength?: number;
  mask?: string;
  lora?: string;
}

export type RemarkCode = "cut_prompt" | "cut_negative" | "resized" | "frames";

export type DrawEvent =
  | { type: "remarks"; remarks: { code: RemarkCode; text: string }[] }
  | { type: "queued"; position: number }
  | { type: "step"; done: number; of: number; first: number; previews: string[] }
  | { type: "done"; drawing: Drawing | null; stopped: boolean }
  | { type: "error"; error: Fault };

export interface DrawRun {
  id: string;
  stage: string;
  kind: string | null;
  source: string | null;
}

export interface DrawOrigin {
  name: string;
  model: string;
  hash: string | null;
  runs: DrawRun[];
  lora: string | null;
  lora_runs: DrawRun[];
  start_sha256: string | null;
  mask_sha256: string | null;
  /** The own picture that it began with, the one with which that one began, … */
  began: { drawing: string; prompt: string; picture: string }[];
}

export const pictureUrl = (id: string) => `/api/drawings/pictures/${id}`;
