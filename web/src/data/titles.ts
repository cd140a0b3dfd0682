import type { Translate } from "../text";

const PYTHON = "Python's documentation";

/** What people call a text that is looked up in, or a file of it. */
export const titleWord = (title: string, t: Translate) =>
  title === PYTHON || title.startsWith(`${PYTHON}/`) ? t("documents.python") + title.slice(PYTHON.length) : title;
