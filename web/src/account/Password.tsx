import { useState, type FormEvent } from "react";
import { faultFrom, put } from "../api/client";
import type { Fault } from "../api/types";
import { useSession } from "../app/session";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";

/** Changes one's own password. */
export function Password() {
  const t = useText();
  const { person } = useSession();
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [done, setDone] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);

  const [busy, once] = useBusy();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setFault(null);
    setDone(false);
    void once(() =>
      put("/api/me/password", { old, new: next }).then(
        () => {
          setDone(true);
          setOld("");
          setNext("");
        },
        (error) => setFault(faultFrom(error)),
      ),
    );
  };
  return (
    <form className="card stack" onSubmit={submit}>
      <h2>{t("account.password_title")}</h2>
      <input hidden readOnly autoComplete="username" value={person.name} aria-hidden="true" tabIndex={-1} />
      <label className="field">
        <span className="label">{t("account.old")}</span>
        <input
          type="password"
          value={old}
          onChange={(event) => setOld(event.target.value)}
          autoComplete="current-password"
          maxLength={200}
          required
        />
      </label>
      <label className="field">
        <span className="label">{t("account.new")}</span>
        <input
          type="password"
          value={next}
          onChange={(event) => setNext(event.target.value)}
          autoComplete="new-password"
          minLength={8}
          maxLength={200}
          required
        />
        <span className="quiet small">{t("account.password_rule")}</span>
      </label>
      {fault && <FaultNotice fault={fault} />}
      {done && (
        <p className="notice" role="status">
          {t("account.changed")}
        </p>
      )}
      <div className="row">
        <Button look="main" type="submit" disabled={busy}>
          {t("account.change")}
        </Button>
      </div>
      <Command text={`malmoi users password "${person.name}"`} />
    </form>
  );
}
