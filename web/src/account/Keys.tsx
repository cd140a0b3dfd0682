import { useState, type FormEvent } from "react";
import { faultFrom, post, remove } from "../api/client";
import type { ApiKey } from "../api/types";
import { useSession } from "../app/session";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { useCopy } from "../ui/copy";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { useBusy } from "../ui/useBusy";
import { useLoaded } from "../ui/useLoaded";

/** Keys with which programs ask: made, shown once, revoked. Owner and admins see everybody's. */
export function Keys() {
  const t = useText();
  const [language] = useLanguage();
  const { person } = useSession();
  const { value, fault, load, setFault } = useLoaded<{ keys: ApiKey[] }>("/api/keys");
  const [name, setName] = useState("");
  const [made, setMade] = useState<string | null>(null);
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  const [copied, copy] = useCopy();

  const [busy, once] = useBusy();

  const make = async () => {
    setFault(null);
    try {
      setMade((await post<{ key: string }>("/api/keys", { name: name.trim() })).key);
      setName("");
      await load();
    } catch (error) {
      setFault(faultFrom(error));
    }
  };
  const revoke = (key: ApiKey) => {
    setRevoking(null);
    setMade(null);
    remove(`/api/keys/${key.id}`).then(load, (error) => setFault(faultFrom(error)));
  };
  return (
    <section className="card stack">
      <h2>{t("apikeys.title")}</h2>
      <p className="quiet">{t("apikeys.about")}</p>
      <p className="small">
        {t("apikeys.address")} <code>{location.origin}/v1</code>
      </p>
      <form
        className="row"
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          void once(make);
        }}
      >
        <label className="field grow">
          <span className="label">{t("apikeys.name")}</span>
          <input value={name} onChange={(event) => setName(event.target.value)} maxLength={60} required />
        </label>
        <Button look="main" type="submit" className="low" disabled={busy}>
          {t("apikeys.make")}
        </Button>
      </form>
      {fault && <FaultNotice fault={fault} />}
      {made && (
        <div className="notice" role="status">
          <span>
            {t("apikeys.once")}
            <br />
            <code>{made}</code>
          </span>
          <Button icon={copied ? "check" : "copy"} onClick={() => copy(made)}>
            {copied ? t("copied") : t("copy")}
          </Button>
        </div>
      )}
      {value && !value.keys.length && <p className="quiet">{t("apikeys.none")}</p>}
      <ul className="people">
        {value?.keys.map((key) => (
          <li key={key.id}>
            <span>
              {key.name} <code>{key.prefix}…</code>{" "}
              <span className="quiet small">
                {key.person !== person.name && `${key.person} · `}
                {key.last_used_at
                  ? t("apikeys.used", { day: new Date(key.last_used_at).toLocaleDateString(language) })
                  : t("apikeys.unused")}
              </span>
            </span>
            <Button look="plain" onClick={() => setRevoking(key)}>
              {t("apikeys.revoke")}
            </Button>
          </li>
        ))}
      </ul>
      <Command text={`malmoi keys add "${person.name}" --name "${name.trim() || "key"}"`} />
      {revoking && (
        <Dialog title={t("apikeys.revoke_title", { name: revoking.name })} onClose={() => setRevoking(null)}>
          <p>{t("apikeys.revoke_about")}</p>
          <div className="row">
            <Button look="danger" onClick={() => revoke(revoking)}>
              {t("apikeys.revoke")}
            </Button>
            <Button onClick={() => setRevoking(null)}>{t("cancel")}</Button>
          </div>
          <Command text={`malmoi keys revoke ${revoking.id}`} />
        </Dialog>
      )}
    </section>
  );
}
