import { post } from "../api/client";
import type { Me } from "../api/types";
import { go } from "../app/route";
import { useText } from "../text";
import { AccountForm } from "./AccountForm";
import { Entrance } from "./Entrance";
import { useSecretInAddress } from "./secret";

/** Where the one-time link of the first start leads. */
export function SetupPage({ me, onSignedIn }: { me: Me; onSignedIn: (me: Me) => void }) {
  const t = useText();
  const token = useSecretInAddress();
  return (
    <Entrance me={me} title={t("welcome")}>
      <p>{t("setup.about")}</p>
      <AccountForm
        act={t("setup.act")}
        newPassword
        send={(name, password) => post<Me>("/api/setup", { token, name, password })}
        onSignedIn={(next) => {
          go("/chat", "replace");
          onSignedIn(next);
        }}
      />
    </Entrance>
  );
}
