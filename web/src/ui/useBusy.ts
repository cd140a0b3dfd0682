import { useCallback, useRef, useState } from "react";

/** Whether a request of this part of the page is under way, and a way to send one: of a double click the second does
 * nothing, also before the button is drawn as disabled. */
export function useBusy(): [boolean, (work: () => Promise<unknown>) => Promise<void>] {
  const [busy, setBusy] = useState(false);
  const under = useRef(false);
  const once = useCallback(async (work: () => Promise<unknown>) => {
    if (under.current) return;
    under.current = true;
    setBusy(true);
    try {
      await work();
    } finally {
      under.current = false;
      setBusy(false);
    }
  }, []);
  return [busy, once];
}
