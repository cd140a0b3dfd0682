import type { Fault } from "../api/types";
import { useText, type Key, type Translate } from "../text";
import { Button } from "./Button";

const KNOWN: Record<string, Key> = {
  broken_off: "fault.broken_off",
  busy: "fault.busy",
  conflict: "fault.conflict",
  disk_full: "fault.disk_full",
  in_service: "fault.in_service",
  internal: "fault.internal",
  invalid_file: "fault.invalid_file",
  lease_lost: "fault.lease_lost",
  missing: "fault.missing",
  model_failed: "fault.model_failed",
  name_taken: "fault.name_taken",
  no_documents: "fault.no_documents",
  no_model: "fault.no_model",
  no_picture_model: "fault.no_picture_model",
  not_allowed: "fault.not_allowed",
  not_found: "fault.not_found",
  not_signed_in: "fault.not_signed_in",
  nothing_earlier: "fault.nothing_earlier",
  nothing_to_compare: "fault.nothing_to_compare",
  offline: "fault.offline",
  other_origin: "fault.other_origin",
  storage: "fault.storage",
  too_many_drawings: "fault.too_many_drawings",
  too_many_logins: "fault.too_many_logins",
  too_many_requests: "fault.too_many_requests",
  worse: "fault.worse",
  regressed: "fault.regressed",
  wrong_login: "fault.wrong_login",
  wrong_setup_link: "fault.wrong_setup_link",
};

/** One sentence for a person; a fault that has no text of its own is told as the server told it. */
export function faultText(fault: Fault, t: Translate): string {
  const details = fault.details ?? {};
  if (fault.code === "too_long") return t("fault.too_long", { n: details.n_tokens ?? "?", most: details.most ?? "?" });
  if (fault.code === "too_large") return t("fault.too_large", { mb: Math.floor(Number(details.max_bytes ?? 0) / 1e6) });
  if (fault.code === "model_too_large")
    return t("fault.model_too_large", { needed: details.needed_gb ?? "?", free: details.free_gb ?? "?" });
  if (fault.code === "cannot_draw") return t("fault.cannot_draw", { reason: details.reason ?? fault.message });
  if (fault.code === "too_many_pictures") return t("fault.too_many_pictures", { most: details.most ?? "?" });
  const key = KNOWN[fault.code];
  return key ? (t as (key: Key) => string)(key) : fault.message;
}

export function FaultNotice(props: { fault: Fault; onRetry?: () => void; onClose?: () => void }) {
  const t = useText();
  return (
    <div className="notice warn" role="alert">
      <span>{faultText(props.fault, t)}</span>
      {props.onRetry && <Button onClick={props.onRetry}>{t("retry")}</Button>}
      {props.onClose && <Button look="plain" icon="close" aria-label={t("close")} onClick={props.onClose} />}
    </div>
  );
}
