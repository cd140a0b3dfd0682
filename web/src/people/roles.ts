import type { Role } from "../api/types";
import type { Translate } from "../text";

/** The roles that somebody may give to somebody else: only an owner makes, or changes, owners and admins. */
export function rolesToGive(mine: Role, theirs: Role): Role[] {
  if (mine === "owner") return ["labeler", "user", "admin", "owner"];
  return theirs === "labeler" || theirs === "user" ? ["labeler", "user"] : [];
}

export function roleWord(role: Role, t: Translate): string {
  return { owner: t("role.owner"), admin: t("role.admin"), labeler: t("role.labeler"), user: t("role.user") }[role];
}
