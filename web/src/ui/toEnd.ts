import type { FocusEvent } from "react";

/** Puts the cursor after the text that is there, where one goes on writing; a click then puts it where it was made. */
export const toEnd = ({ currentTarget: field }: FocusEvent<HTMLTextAreaElement>) =>
  field.setSelectionRange(field.value.length, field.value.length);
