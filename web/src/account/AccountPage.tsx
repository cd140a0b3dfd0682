import { useSession } from "../app/session";
import { roleWord } from "../people/roles";
import { useText } from "../text";
import { Keys } from "./Keys";
import { Password } from "./Password";

/** What is one's own: password, and keys for programs. */
export function AccountPage() {
  const t = useText();
  const { person } = useSession();
  return (
    <div className="page stack">
      <h1>{person.name}</h1>
      <p>
        {t("account.role")}: {roleWord(person.role, t)}
      </p>
      <Password />
      {person.role !== "labeler" && <Keys />}
    </div>
  );
}
