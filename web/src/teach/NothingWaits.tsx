import { linkTo } from "../app/route";
import { useSession } from "../app/session";
import { useText } from "../text";

export function NothingWaits() {
  const t = useText();
  const { person } = useSession();
  return (
    <div className="empty stack">
      <h2>{t("teach.nothing")}</h2>
      {person.role === "labeler" ? (
        <p className="quiet">{t("teach.thanks")}</p>
      ) : (
        <>
          <p className="quiet">{t("teach.where_from")}</p>
          <a className="button" {...linkTo("/teach/ask")}>
            {t("teach.ask")}
          </a>
        </>
      )}
    </div>
  );
}
