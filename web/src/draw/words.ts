import type { Drawing, RemarkCode } from "../api/draw";

/** How a drawing began, where it did not begin with words alone. */
export const KINDS = { image: "draw.kind.image", inpaint: "draw.kind.inpaint" } as const;

export const kindKey = (kind: Drawing["kind"]) => (kind === "text" ? null : KINDS[kind]);

export const REMARKS = {
  cut_prompt: "draw.remark.cut_prompt",
  cut_negative: "draw.remark.cut_negative",
  resized: "draw.remark.resized",
  frames: "draw.remark.frames",
} as const satisfies Record<RemarkCode, string>;

/** Name and scale of a LoRA as a drawing has it: "style:0.8 (SHA-256 …)" */
export const loraOf = (text: string | undefined): [string, string] => {
  const [name = "", scale = "1"] = (text ?? "").split(" ")[0]!.split(":");
  return [name, scale];
};

const SMALL = 128;

/** Of a picture: one with few pixels is shown with those, and not smoothed. size: such as "64x64" */
export const look = (size: string) => (Number(size.split("x")[0]) <= SMALL ? "drawn few" : "drawn");
