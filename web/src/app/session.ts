import { createContext, useCallback, useContext, useEffect, useRef, useState } from "react";
import { get } from "../api/client";
import type { Me, Person, Role, Status } from "../api/types";

export interface Session {
  me: Me;
  person: Person;
  setMe: (me: Me | null) => void;
}

export const SessionContext = createContext<Session | null>(null);

/** The signed-in person; only for what is shown to one. */
export const useSession = () => useContext(SessionContext)!;

/** Whether a role may improve the assistant and put versions in service. */
export const leads = (role: Role) => role === "owner" || role === "admin";

const POLL_MS = 10_000;
const CHANGING_MS = 1000;
const CHANGED = "malmoi-status";

/** Tell the pages that another service may answer by now, so that they need not wait for their next turn. */
export const statusChanged = () => window.dispatchEvent(new Event(CHANGED));

export const StatusContext = createContext<Status | null>(null);

export const useStatus = () => useContext(StatusContext);

/** The state of the service, asked for again and again while the page is seen. */
export function usePolledStatus(signedIn: boolean): Status | null {
  const [status, setStatus] = useState<Status | null>(null);
  const turns = useRef({ asked: 0, shown: 0 });
  const ask = useCallback(() => {
    if (document.visibilityState !== "visible") return;
    const turn = ++turns.current.asked;
    get<Status>("/api/status").then(
      (found) => {
        if (turn < turns.current.shown) return; // a later one has come before
        turns.current.shown = turn;
        setStatus(found);
        if (found.changing && turn === turns.current.asked) setTimeout(ask, CHANGING_MS);
      },
      () => undefined, // the next turn asks again; acts report their own faults
    );
  }, []);
  useEffect(() => {
    if (!signedIn) return;
    ask();
    const timer = setInterval(ask, POLL_MS);
    document.addEventListener("visibilitychange", ask);
    window.addEventListener(CHANGED, ask);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", ask);
      window.removeEventListener(CHANGED, ask);
    };
  }, [signedIn, ask]);
  return status;
}
