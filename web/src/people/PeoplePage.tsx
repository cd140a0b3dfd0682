import { useState } from "react";
import { faultFrom, patch, remove } from "../api/client";
import type { Member, People, Role, Settings } from "../api/types";
import { useSession } from "../app/session";
import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";
import { inTurn } from "../ui/inTurn";
import { Switch } from "../ui/Switch";
import { useLoaded } from "../ui/useLoaded";
import { Invite } from "./Invite";
import { roleWord, rolesToGive } from "./roles";

/** Who is here, who is invited, and what holds for all. */
export function PeoplePage() {
  const t = useText();
  const [language] = useLanguage();
  const people = useLoaded<People>("/api/people");
  const settings = useLoaded<Settings>("/api/settings");
  const fault = people.fault ?? settings.fault;
  const day = (time: string) => new Date(time).toLocaleDateString(language);

  const [after] = useState(inTurn);
  const act = (ask: () => Promise<unknown>) =>
    after(ask).then(people.load, (error) => people.setFault(faultFrom(error)));
  // Shown at once: of two quick clicks the second must know of the first.
  const set = (change: Partial<Settings>) => {
    const now = settings.value!;
    settings.setValue({ ...now, ...change });
    after(() => patch<Settings>("/api/settings", change)).catch((error) => {
      settings.setFault(faultFrom(error));
      settings.setValue(now);
    });
  };

  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const withdraw = (id: string) => {
    setLeft((all) => new Set([...all, id]));
    void act(() => remove(`/api/invites/${id}`));
  };
  return (
    <div className="page stack">
      <h1>{t("place.people")}</h1>
      {fault && <FaultNotice fault={fault} onRetry={() => void people.load()} />}
      <Invite onInvited={() => void people.load()} />
      <ul className="people">
        {people.value?.people.map((member) => (
          <MemberRow
            key={member.id}
            member={member}
            onRole={(role) => void act(() => patch(`/api/people/${member.id}`, { role }))}
            onRemove={() => void act(() => remove(`/api/people/${member.id}`))}
          />
        ))}
        {people.value?.invites.map((invite) => (
          <li key={invite.id}>
            <span className="quiet">
              {invite.name ?? t("people.invited")} · {roleWord(invite.role, t)} ·{" "}
              {t("people.until", { day: day(invite.expires_at) })}
            </span>
            <Button look="plain" disabled={left.has(invite.id)} onClick={() => withdraw(invite.id)}>
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
            onChange={(may_teach_default) => set({ may_teach_default })}
          />
          <Switch
            label={t("people.taught")}
            on={settings.value.taught_answers}
            onChange={(taught_answers) => set({ taught_answers })}
          />
          <label className="field">
            <span className="label">{t("people.per_question")}</span>
            <select
              value={settings.value.people_per_question}
              onChange={(event) => set({ people_per_question: Number(event.target.value) })}
            >
              {Array.from({ length: 9 }, (_, at) => at + 1).map((n) => (
                <option key={n} value={n}>
                  {n}
                </option>
              ))}
            </select>
            <span className="small quiet">{t("people.per_question_about")}</span>
          </label>
          <Command text={`malmoi settings people_per_question=${settings.value.people_per_question}`} />
        </section>
      )}
      <section className="stack">
        <h2>{t("people.reads")}</h2>
        <ul className="plain-list">
          <li>{t("people.reads.chats")}</li>
          <li>{t("people.reads.teach")}</li>
          <li>{t("people.reads.said")}</li>
          <li>{t("people.reads.machine")}</li>
        </ul>
      </section>
      <Command text="malmoi users list" />
    </div>
  );
}

interface RowProps {
  member: Member;
  onRole: (role: Role) => void;
  onRemove: () => void;
}

function MemberRow({ member, onRole, onRemove }: RowProps) {
  const t = useText();
  const { person } = useSession();
  const [asking, setAsking] = useState(false);
  const roles = member.id === person.id ? [] : rolesToGive(person.role, member.role);
  return (
    <li>
      <span>
        {member.name} {!roles.length && <span className="quiet">{roleWord(member.role, t)}</span>}
      </span>
      <span className="grow" />
      {roles.length > 0 && (
        <select
          className="input role"
          aria-label={t("people.role_of", { name: member.name })}
          value={member.role}
          onChange={(event) => onRole(event.target.value as Role)}
        >
          {roles.map((role) => (
            <option key={role} value={role}>
              {roleWord(role, t)}
            </option>
          ))}
        </select>
      )}
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
