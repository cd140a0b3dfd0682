import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import { faultFrom, get } from "../api/client";
import type { Fault, Me, Role } from "../api/types";
import { ChatPage } from "../chat/ChatPage";
import { forgetChats } from "../chat/chats";
import { JoinPage } from "../people/JoinPage";
import { SetupPage } from "../people/SetupPage";
import { SignInPage } from "../people/SignInPage";
import { TeachPage } from "../teach/TeachPage";
import { FaultNotice } from "../ui/FaultNotice";
import { Frame } from "./Frame";
import { Guarded } from "./Guarded";
import { useRoute } from "./route";
import { leads, SessionContext, StatusContext, usePolledStatus } from "./session";
import { useTheme } from "./theme";

// What only the owner and admins see is fetched when they go there.
const StartPage = lazy(async () => ({ default: (await import("../start/StartPage")).StartPage }));
const VersionsPage = lazy(async () => ({ default: (await import("../versions/VersionsPage")).VersionsPage }));
const AccountPage = lazy(async () => ({ default: (await import("../account/AccountPage")).AccountPage }));
const DrawPage = lazy(async () => ({ default: (await import("../draw/DrawPage")).DrawPage }));
const DataPage = lazy(async () => ({ default: (await import("../data/DataPage")).DataPage }));
const PeoplePage = lazy(async () => ({ default: (await import("../people/PeoplePage")).PeoplePage }));

export function App() {
  const [me, setMe] = useState<Me | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [place] = useRoute();
  useTheme();

  const load = useCallback(() => {
    setFault(null);
    get<Me>("/api/me").then(setMe, (error) => setFault(faultFrom(error)));
  }, []);
  useEffect(load, [load]);

  const status = usePolledStatus(Boolean(me?.person));
  const signedIn = me?.person?.id;
  useEffect(() => forgetChats, [signedIn]);
  const session = useMemo(() => me?.person && { me, person: me.person, setMe }, [me]);

  if (!me) return fault && <FaultNotice fault={fault} onRetry={load} />;
  if (place === "setup" && me.needs_owner) return <SetupPage me={me} onSignedIn={setMe} />;
  if (place === "join" && !session) return <JoinPage me={me} onSignedIn={setMe} />;
  if (!session) return <SignInPage me={me} onSignedIn={setMe} />;
  return (
    <SessionContext value={session}>
      <StatusContext value={status}>
        <Frame>
          <Guarded path={location.pathname}>
            <Suspense>
              <Page place={place} role={session.person.role} />
            </Suspense>
          </Guarded>
        </Frame>
      </StatusContext>
    </SessionContext>
  );
}

function Page({ place, role }: { place: string | undefined; role: Role }) {
  if (place === "account") return <AccountPage />;
  if (place === "teach" || role === "labeler") return <TeachPage />;
  if (place === "draw") return <DrawPage />;
  if (place === "versions" && leads(role)) return <VersionsPage />;
  if (place === "start" && leads(role)) return <StartPage />;
  if (place === "data" && leads(role)) return <DataPage />;
  if (place === "people" && leads(role)) return <PeoplePage />;
  return <ChatPage />;
}
