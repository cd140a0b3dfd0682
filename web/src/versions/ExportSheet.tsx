import { useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { Command } from "../ui/Command";
import { Dialog } from "../ui/Dialog";
import { FaultNotice } from "../ui/FaultNotice";

const FORMS = { "gguf-q8_0": "version_export.q8_0", gguf: "version_export.gguf", hf: "version_export.hf" } as const;
type Form = keyof typeof FORMS;

interface Exported {
  path: string;
  file: string;
  download: string;
  n_bytes: number;
  cost: null | { text: string; bits_per_byte: number; bits_per_byte_before: number; agreement: number };
  alone: boolean;
  command: string;
}

/** Take a version elsewhere: what is written where, and what that costs in quality. */
export function ExportSheet({ name, onClose }: { name: string; onClose: () => void }) {
  const t = useText();
  const [form, setForm] = useState<Form>("gguf-q8_0");
  const [made, setMade] = useState<Exported | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [busy, setBusy] = useState(false);

  const write = async () => {
    setBusy(true);
    setFault(null);
    try {
      setMade(await post<Exported>(`/api/versions/${encodeURIComponent(name)}/export`, { form }));
    } catch (error) {
      setFault(faultFrom(error));
    }
    setBusy(false);
  };
  return (
    <Dialog title={t("version_export.title", { name })} onClose={onClose}>
      <fieldset className="choices">
        <legend>{t("version_export.form")}</legend>
        {(Object.keys(FORMS) as Form[]).map((one) => (
          <label key={one}>
            <input type="radio" name="form" checked={form === one} onChange={() => setForm(one)} />
            <span>{t(FORMS[one])}</span>
          </label>
        ))}
      </fieldset>
      {fault && <FaultNotice fault={fault} />}
      {made && (
        <div role="status" className="stack">
          <p>{t("version_export.made", { path: made.path, size: (made.n_bytes / 1e6).toFixed(1) })}</p>
          {made.cost ? (
            <p>
              {t("version_export.cost", {
                after: made.cost.bits_per_byte.toFixed(4),
                before: made.cost.bits_per_byte_before.toFixed(4),
                same: (100 * made.cost.agreement).toFixed(1),
              })}
            </p>
          ) : (
            <p>{t("version_export.free")}</p>
          )}
          {made.alone && <p className="quiet small">{t("version_export.alone")}</p>}
          <a className="button" href={made.download} download={made.file}>
            {t("version_export.download", { file: made.file })}
          </a>
          <Command text={made.command} />
        </div>
      )}
      <div className="row">
        <Button look="main" disabled={busy} onClick={() => void write()}>
          {t(busy ? "version_export.busy" : "version_export.act")}
        </Button>
        <Button onClick={onClose}>{t("close")}</Button>
      </div>
    </Dialog>
  );
}
