import type { Translate } from "../text";

/** What people call a text that is looked up in. */
export const titleWord = (title: string, t: Translate) =>
  title === "Python's documentation" ? t("documents.python") : title;
