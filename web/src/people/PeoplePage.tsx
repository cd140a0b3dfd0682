import { useState } from "react";
import { faultFrom, patch, remove } from "../api/client";
import type { Member, People, Settings } from "../api/types";
import { useSession } from "../app/session";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { Switch } from "../ui/Switch";
import { useLoaded } from "../ui/useLoaded";
import { Invite } from "./Invite";
import { roleWord } from "./roles";

/** Who is here, who is invited, and what holds for all. */
export function PeoplePage() {
  const t = useText();
  const [language] = useLanguage();
  const people = useLoaded<People>("/api/people");
  const settings = useLoaded<Settings>("/api/settings");
  const fault = people.fault ?? settings.fault;
  const day = (time: string) => new Date(time).toLocaleDateString(language);

  const act = (request: Promise<unknown>) => request.then(people.load, (error) => people.setFault(faultFrom(error)));
  const set = (change: Partial<Settings>) =>
    patch<Settings>("/api/settings", change).then(settings.setValue, (error) => settings.setFault(faultFrom(error)));

  return (
    <div className="page stack">
      <h1>{t("place.people")}</h1>
      {fault && <FaultNotice fault={fault} onRetry={() => void people.load()} />}
      <Invite onInvited={() => void people.load()} />
      <ul className="people">
        {people.value?.people.map((member) => (
          <MemberRow key={member.id} member={member} onRemove={() => void act(remove(`/api/people/${member.id}`))} />
        ))}
        {people.value?.invites.map((invite) => (
          <li key={invite.id}>
            <span className="quiet">
              {invite.name ?? t("people.invited")} · {roleWord(invite.role, t)} ·{" "}
              {t("people.until", { day: day(invite.expires_at) })}
            </span>
            <Button look="plain" onClick={() => void act(remove(`/api/invites/${invite.id}`))}>
              {t("withdraw")}
            </Button>
          </li>
        ))}
      </ul>
      {settings.value && (
        <section className="stack">
          <h2>{t("people.rules")}</h2>
          <Switch
            label={t("people.consent")}
            on={settings.value.may_teach_default}
            onChange={(may_teach_default) => void set({ may_teach_default })}
          />
          <Switch
            label={t("people.taught")}
            on={settings.value.taught_answers}
            onChange={(taught_answers) => void set({ taught_answers })}
          />
          <p className="small quiet">{t("people.private")}</p>
        </section>
      )}
    </div>
  );
}

function MemberRow({ member, onRemove }: { member: Member; onRemove: () => void }) {
  const t = useText();
  const { person } = useSession();
  const [asking, setAsking] = useState(false);
  return (
    <li>
      <span>
        {member.name} <span className="quiet">{roleWord(member.role, t)}</span>
      </span>
      {member.id !== person.id && (
        <Button look="plain" onClick={() => setAsking(true)}>
          {t("people.remove")}
        </Button>
      )}
      {asking && (
        <Dialog title={t("people.remove_title", { name: member.name })} onClose={() => setAsking(false)}>
          <p>{t("people.remove_about")}</p>
          <div className="row">
            <Button
              look="danger"
              onClick={() => {
                setAsking(false);
                onRemove();
              }}
            >
              {t("people.remove")}
            </Button>
            <Button onClick={() => setAsking(false)}>{t("cancel")}</Button>
          </div>
        </Dialog>
      )}
    </li>
  );
}
