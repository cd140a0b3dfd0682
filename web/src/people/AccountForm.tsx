import { useState, type FormEvent } from "react";
import { faultFrom } from "../api/client";
import type { Fault, Me } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";

interface Props {
  act: string;
  newPassword: boolean;
  name?: string;
  send: (name: string, password: string) => Promise<Me>;
  onSignedIn: (me: Me) => void;
}

/** A name and a password, for a new account or a known one. */
export function AccountForm({ act, newPassword, name: preset = "", send, onSignedIn }: Props) {
  const t = useText();
  const [name, setName] = useState(preset);
  const [password, setPassword] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setFault(null);
    send(name.trim(), password).then(onSignedIn, (error) => {
      setFault(faultFrom(error));
      setBusy(false);
    });
  };

  return (
    <form className="stack" onSubmit={submit}>
      <label className="field">
        <span className="label">{t("account.name")}</span>
        <input
          value={name}
          onChange={(event) => setName(event.target.value)}
          autoComplete="username"
          maxLength={60}
          required
          autoFocus
        />
      </label>
      <div className="field">
        <label className="label" htmlFor="password">
          {t("account.password")}
        </label>
        <input
          id="password"
          type={shown ? "text" : "password"}
          value={password}
          onChange={(event) => setPassword(event.target.value)}
          autoComplete={newPassword ? "new-password" : "current-password"}
          minLength={newPassword ? 8 : 1}
          maxLength={200}
          required
          aria-describedby={newPassword ? "password-rule" : undefined}
        />
        <div className="row spread small">
          <span id="password-rule" className="quiet">
            {newPassword && t("account.password_rule")}
          </span>
          <Button look="plain" aria-pressed={shown} onClick={() => setShown(!shown)}>
            {t("account.show")}
          </Button>
        </div>
      </div>
      {fault && <FaultNotice fault={fault} />}
      <Button look="main" type="submit" disabled={busy}>
        {act}
      </Button>
    </form>
  );
}
