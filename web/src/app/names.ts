import type { Key, Translate } from "../text";

// What the server calls by a name of the recipe. A name that is not here is shown as it is.
const STAGES = {
  base: "stage.base",
  compare: "stage.compare",
  corpus: "stage.corpus",
  data: "stage.data",
  demonstrations: "stage.demonstrations",
  eval: "stage.eval",
  fetch: "stage.fetch",
  import: "stage.import",
  index: "stage.index",
  judge: "stage.judge",
  judgements: "stage.judgements",
  natural: "stage.natural",
  pictures: "stage.pictures",
  clip: "stage.clip",
  denoiser: "stage.denoiser",
  picture_lora: "stage.picture_lora",
  drawings: "stage.drawings",
  consistency: "stage.consistency",
  vae: "stage.vae",
  gan: "stage.gan",
  autoencoder: "stage.autoencoder",
  pretrain: "stage.pretrain",
  rank: "stage.rank",
  reading: "stage.reading",
  reward: "stage.reward",
  sample: "stage.sample",
  sft: "stage.sft",
  tokenizer: "stage.tokenizer",
} as const;
const ALGORITHMS = ["dpo", "grpo", "kto", "ppo"];
const MEASURES = { accuracy: "measure.accuracy", loss: "measure.loss", score: "measure.score" } as const;
const BASELINES = {
  "the longer answer": "baseline.longer",
  "the shorter answer": "baseline.shorter",
  "counted words": "baseline.words",
  "the probe": "baseline.probe",
} as const;

/** Why rows of a file are left out, as the server says it. */
const LEFT_OUT: Record<string, Key> = {
  "said by somebody who has an account here": "left_out.account",
  "chosen and rejected are the same": "left_out.chosen_rejected",
  damaged: "left_out.damaged",
  deleted: "left_out.deleted",
  "an empty answer": "left_out.empty_answer",
  "an empty turn": "left_out.empty_turn",
  "equal answers with different ranks": "left_out.equal",
  "malformed messages": "left_out.malformed",
  "marked as not to be learned from": "left_out.marked",
  "no assistant turn, so nothing to train on": "left_out.no_answer",
  "not valid JSON": "left_out.no_json",
  "expected an object": "left_out.no_object",
  "no question": "left_out.no_question",
  "no text in it": "left_out.no_text",
  "not UTF-8": "left_out.no_utf8",
  "no ranking: one answer": "left_out.one_answer",
  "ranks are whole numbers, 1 for the best": "left_out.ranks",
  "roles do not alternate": "left_out.roles",
  "a question within a conversation": "left_out.within",
  "more than 1,000 questions": "left_out.too_many",
  "not as a workspace writes it": "left_out.changed",
  "ranked otherwise before, by the same person": "left_out.otherwise",
  "the same answer twice": "left_out.twice",
  "the same id with other contents": "left_out.other",
  "messages without words": "left_out.wordless",
};

const wordFor = (table: Record<string, Key>, name: string, t: Translate) => {
  const key = table[name];
  return key ? (t as (key: Key) => string)(key) : name;
};

export const stageName = (name: string, t: Translate) =>
  ALGORITHMS.includes(name) ? name.toUpperCase() : wordFor(STAGES, name, t);

/** The server calls everybody so who was forgotten, and lets nobody else have the name. */
const FORGOTTEN = "forgotten";

/** Who ranks where a recipe runs without people. */
const SIMULATED = "simulated labeler";

export const personName = (name: string, t: Translate) => {
  if (name === SIMULATED) return t("people.simulated");
  return name === FORGOTTEN ? t("people.forgotten") : name;
};

/** Who said something; a program in a person's place is named as one, once. */
export const sayerName = (name: string, simulated: boolean, t: Translate) => {
  const shown = personName(name, t);
  return simulated && shown === name ? t("learned.simulated", { name }) : shown;
};

/** Of a curve. */
export const measureName = (name: string, t: Translate) => wordFor(MEASURES, name, t);

/** Of what a reward model must beat. */
export const baselineName = (name: string, t: Translate) => wordFor(BASELINES, name, t);

/** Why rows are left out; a reason that has no text of its own is told as the server tells it. */
export const reasonWord = (reason: string, t: Translate) => wordFor(LEFT_OUT, reason, t);
