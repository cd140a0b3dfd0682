import { useEffect, useState, type ReactNode } from "react";
import { faultFrom, post } from "../api/client";
import type { Fault } from "../api/types";
import { History } from "../chat/History";
import { useText } from "../text";
import { Button } from "../ui/Button";
import { FaultNotice } from "../ui/FaultNotice";
import { Icon, type IconName } from "../ui/Icon";
import { LanguageButton, ThemeButton } from "./Looks";
import { linkTo, useRoute } from "./route";
import { leads, useSession, useStatus } from "./session";
import { ServiceLine } from "./ServiceLine";

/** What is around every page: places and history at the side, the state of the service above. */
export function Frame({ children }: { children: ReactNode }) {
  const t = useText();
  const { me, person, setMe } = useSession();
  const route = useRoute();
  const status = useStatus();
  const [open, setOpen] = useState(false);
  const [fault, setFault] = useState<Fault | null>(null);
  const address = route.join("/");
  useEffect(() => setOpen(false), [address]);
  const chats = person.role !== "labeler";
  const signOut = () =>
    post("/api/logout").then(
      () => setMe({ ...me, person: null }),
      (error) => setFault(faultFrom(error)), // the browser is still signed in
    );
  const place = chats ? (route[0] ?? "chat") : route[0] === "account" ? "account" : "teach";

  return (
    <div className="frame" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <a className="skip" href="#main">
        {t("frame.skip")}
      </a>
      <header className="top">
        <Button
          look="plain"
          icon="menu"
          className="only-phone"
          aria-label={t("frame.menu")}
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        />
        <div className="where">
          <strong className="workspace">{me.workspace}</strong>
          <ServiceLine />
        </div>
        <span className="grow" />
        <LanguageButton />
        <ThemeButton />
      </header>
      {open && <div className="shade only-phone" onClick={() => setOpen(false)} />}
      <aside className={open ? "side open" : "side"}>
        <nav aria-label={t("frame.places")}>
          {chats && <Place path="/chat" icon="chat" label={t("place.chat")} here={place === "chat"} />}
          {chats && status?.draws && (
            <Place path="/draw" icon="brush" label={t("place.draw")} here={place === "draw"} />
          )}
          <Place path="/teach" icon="teach" label={t("place.teach")} here={place === "teach"} />
          {leads(person.role) && (
            <>
              <Place path="/versions" icon="layers" label={t("place.versions")} here={place === "versions"} />
              <Place path="/data" icon="book" label={t("place.data")} here={place === "data"} />
              <Place path="/people" icon="person" label={t("place.people")} here={place === "people"} />
            </>
          )}
        </nav>
        {place === "chat" ? <History /> : <span className="grow" />}
        <div className="row spread account">
          <a
            className="row own"
            {...linkTo("/account")}
            title={t("place.account")}
            aria-current={route[0] === "account" ? "page" : undefined}
          >
            <Icon name="person" /> <span className="hidden">{t("place.account")}: </span>
            {person.name}
          </a>
          <Button look="plain" onClick={() => void signOut()}>
            {t("sign_out")}
          </Button>
        </div>
      </aside>
      <main id="main" tabIndex={-1}>
        {me.warning === "no_tls" && <p className="notice warn small">{t("frame.no_tls")}</p>}
        {fault && <FaultNotice fault={fault} onClose={() => setFault(null)} />}
        {children}
      </main>
    </div>
  );
}

function Place(props: { path: string; icon: IconName; label: string; here: boolean }) {
  return (
    <a className="place" {...linkTo(props.path)} aria-current={props.here ? "page" : undefined}>
      <Icon name={props.icon} />
      {props.label}
    </a>
  );
}
