// The ways to begin as the server tells them.
export type StartWhat = "build" | "fetch" | "text";

export interface StartCost {
  seconds: number | null;
  memory_bytes: number;
  free_memory_bytes: number;
  fits: boolean;
  smaller: number | null;
}

export interface StartOptions {
  build: { cost: StartCost | null; command: string };
  fetch: { cost: StartCost; n_bytes: number; is_here: boolean; command: string };
  text: { n_files: number; cost: StartCost | null; problem: string | null; command: string };
}
