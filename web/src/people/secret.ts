import { useEffect, useState } from "react";

/** The secret after `#`, taken out of the address at once so that no history or screen keeps it. */
export function useSecretInAddress(): string {
  const [secret] = useState(() => location.hash.slice(1));
  useEffect(() => history.replaceState(null, "", location.pathname), []);
  return secret;
}
