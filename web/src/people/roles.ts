import type { Role } from "../api/types";
import type { Translate } from "../text";

export function roleWord(role: Role, t: Translate): string {
  return { owner: t("role.owner"), admin: t("role.admin"), labeler: t("role.labeler"), user: t("role.user") }[role];
}
