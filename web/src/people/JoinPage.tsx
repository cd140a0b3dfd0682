import { useEffect, useState } from "react";
import { faultFrom, get, post } from "../api/client";
import type { Fault, Me, Role } from "../api/types";
import { go } from "../app/route";
import { useText } from "../text";
import { FaultNotice } from "../ui/FaultNotice";
import { AccountForm } from "./AccountForm";
import { Entrance } from "./Entrance";
import { useSecretInAddress } from "./secret";

interface Invitation {
  role: Role;
  name: string | null;
  expires_at: string;
}

/** Where an invitation leads: a name and a password, and one is in. */
export function JoinPage({ me, onSignedIn }: { me: Me; onSignedIn: (me: Me) => void }) {
  const t = useText();
  const code = useSecretInAddress();
  const [invitation, setInvitation] = useState<Invitation | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  useEffect(() => {
    get<Invitation>(`/api/join/${encodeURIComponent(code)}`).then(setInvitation, (error) => setFault(faultFrom(error)));
  }, [code]);
  return (
    <Entrance me={me} title={t("join.title", { workspace: me.workspace })}>
      {fault && <FaultNotice fault={fault} />}
      {invitation && (
        <>
          <p>{invitation.role === "labeler" ? t("join.labeler") : t("join.user")}</p>
          <AccountForm
            act={t("join.act")}
            newPassword
            name={invitation.name ?? ""}
            send={(name, password) => post<Me>("/api/join", { code, name, password })}
            onSignedIn={(next) => {
              go(next.person?.role === "labeler" ? "/teach" : "/chat", "replace");
              onSignedIn(next);
            }}
          />
        </>
      )}
    </Entrance>
  );
}
