import { post } from "../api/client";
import type { Me } from "../api/types";
import { useText } from "../text";
import { AccountForm } from "./AccountForm";
import { Entrance } from "./Entrance";

export function SignInPage({ me, onSignedIn }: { me: Me; onSignedIn: (me: Me) => void }) {
  const t = useText();
  if (me.needs_owner)
    return (
      <Entrance me={me} title={t("welcome")}>
        <p>{t("signin.no_owner")}</p>
      </Entrance>
    );
  return (
    <Entrance me={me} title={t("signin.title")}>
      <AccountForm
        act={t("signin.act")}
        newPassword={false}
        send={(name, password) => post<Me>("/api/login", { name, password })}
        onSignedIn={onSignedIn}
      />
      <p className="quiet small">{t("signin.no_account")}</p>
    </Entrance>
  );
}
