import { useRef, useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { chatsChanged } from "./changes";

interface Taken {
  n_chats: number;
  n_messages: number;
  n_left_out: number;
}

/** All chats out into a file, and in again. */
export function Portability() {
  const t = useText();
  const file = useRef<HTMLInputElement>(null);
  const [taken, setTaken] = useState<Taken | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);

  const take = async (chosen: File) => {
    setFault(null);
    setTaken(null);
    try {
      setTaken(await post<Taken>("/api/chats/import", JSON.parse(await chosen.text())));
      chatsChanged();
    } catch (error) {
      setFault(error instanceof SyntaxError ? { code: "invalid_file", message: error.message } : faultFrom(error));
    }
  };

  return (
    <div className="portability">
      {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
      {taken && (
        <p className="small" role="status">
          {t("history.imported", { chats: taken.n_chats, messages: taken.n_messages })}{" "}
          {taken.n_left_out > 0 && t("add.left_out", { n: taken.n_left_out, reason: t("left_out.wordless") })}
        </p>
      )}
      <a className="button plain" href="/api/chats/export" download>
        {t("history.export_all")}
      </a>
      <Button look="plain" onClick={() => file.current!.click()}>
        {t("history.import")}
      </Button>
      <input
        ref={file}
        type="file"
        accept="application/json,.json"
        hidden
        aria-label={t("history.import")}
        onChange={(event) => {
          const [chosen] = event.target.files!;
          if (chosen) void take(chosen);
          event.target.value = "";
        }}
      />
    </div>
  );
}
