import { useText } from "../text";

/** The keys of ranking. */
export function Keys() {
  const t = useText();
  return (
    <KeyTable
      rows={[
        [["Tab", "↑", "↓"], t("keys.focus")],
        [["1", "…", "9"], t("keys.place")],
        [["Shift + ↑", "Shift + ↓"], t("keys.move")],
        [["="], t("keys.tie")],
        [["Ctrl + Z"], t("keys.undo")],
        [["Ctrl + Enter"], t("keys.save")],
      ]}
    />
  );
}

/** Keys, and what they do. */
export function KeyTable({ rows }: { rows: [string[], string][] }) {
  return (
    <table className="keys">
      <tbody>
        {rows.map(([keys, what]) => (
          <tr key={what}>
            <th scope="row">
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </th>
            <td>{what}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
