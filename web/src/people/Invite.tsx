import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault, Role } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { useCopy } from "../ui/copy";
import { FaultNotice } from "../ui/FaultNotice";
import { QrCode } from "../ui/QrCode";
import { useBusy } from "../ui/useBusy";
import { roleWord } from "./roles";

const ROLES: Role[] = ["labeler", "user", "admin"];

/** Makes a link that lets one person in; it is shown once. */
export function Invite({ onInvited }: { onInvited: () => void }) {
  const t = useText();
  const [role, setRole] = useState<Role>("labeler");
  const [link, setLink] = useState<string | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [copied, copy] = useCopy();

  const [busy, once] = useBusy();
  const invite = () =>
    once(async () => {
      setFault(null);
      try {
        setLink((await post<{ link: string }>("/api/invites", { role })).link);
        onInvited();
      } catch (error) {
        setFault(faultFrom(error));
      }
    });

  return (
    <section className="card stack">
      <h2>{t("invite.title")}</h2>
      <fieldset className="choices">
        <legend className="hidden">{t("invite.title")}</legend>
        {ROLES.map((each) => (
          <label key={each}>
            <input type="radio" name="role" checked={role === each} onChange={() => setRole(each)} />
            <span>
              {roleWord(each, t)}
              <span className="quiet small">
                {
                  {
                    labeler: t("role.labeler.about"),
                    user: t("role.user.about"),
                    admin: t("role.admin.about"),
                    owner: "",
                  }[each]
                }
              </span>
            </span>
          </label>
        ))}
      </fieldset>
      <div className="row">
        <Button look="main" disabled={busy} onClick={() => void invite()}>
          {t("invite.act")}
        </Button>
      </div>
      {fault && <FaultNotice fault={fault} />}
      {link && (
        <div className="notice" role="status">
          <span>
            {t("invite.link")}
            <br />
            <code>{link}</code>
          </span>
          <Button icon={copied ? "check" : "copy"} onClick={() => copy(link)}>
            {copied ? t("copied") : t("copy")}
          </Button>
          <QrCode text={link} label={t("invite.qr")} />
        </div>
      )}
    </section>
  );
}
