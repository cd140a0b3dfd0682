import { Fragment } from "react";
import type { Learning } from "../api/data";
import { useText } from "../text";

/** What has learned from something already, and stays as it is. */
export function LearnedList({ learning }: { learning: Learning }) {
  const t = useText();
  const parts: [string, string[]][] = [
    [t("forget.versions"), learning.versions],
    [t("forget.models"), learning.artefacts.map(({ run, hash }) => `${run} ${hash.slice(0, 12)}`)],
    [t("forget.snapshots"), learning.snapshots],
  ];
  const some = parts.filter(([, names]) => names.length > 0);
  if (!some.length) return <p className="quiet">{t("forget.nothing")}</p>;
  return (
    <div>
      <p>{t("forget.learned")}</p>
      <ul className="plain-list">
        {some.map(([what, names]) => (
          <li key={what}>
            {what}:{" "}
            {names.map((name, at) => (
              <Fragment key={name}>
                {at > 0 && ", "}
                <span className="whole">{name}</span>
              </Fragment>
            ))}
          </li>
        ))}
      </ul>
    </div>
  );
}
