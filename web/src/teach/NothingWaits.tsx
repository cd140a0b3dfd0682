import { linkTo } from "../app/route";
import { useSession } from "../app/session";
import { useText } from "../text";

/** No item of this kind is left; `writing`: how many questions wait for a written answer instead. */
export function NothingWaits({ writing }: { writing: number }) {
  const t = useText();
  const { person } = useSession();
  return (
    <div className="empty stack">
      <h2>{t("teach.nothing")}</h2>
      {writing > 0 && (
        <a className="button" {...linkTo("/teach/write")}>
          {t("teach.write_waits", { n: writing })}
        </a>
      )}
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
