import { useCallback, useEffect, useRef, useState } from "react";
import { faultFrom, post } from "../api/client";
import type { Drawing, DrawEvent, NewDrawing, RemarkCode } from "../api/draw";
import { events } from "../api/events";
import type { Fault } from "../api/types";

/** A drawing on its way. position: in the queue, 0: its turn; previews: pictures of the batch that begins at `first` */
export interface Live {
  id: string;
  position: number;
  done: number;
  of: number;
  first: number;
  previews: string[];
}

const BEGUN = { position: 0, done: 0, of: 0, first: 0, previews: [] };

/** Draws, one request at a time. onDrawn: is given what was drawn */
export function useDrawing(onDrawn: (drawing: Drawing) => void) {
  const [live, setLive] = useState<Live | null>(null);
  const [fault, setFault] = useState<Fault | null>(null);
  const [stopped, setStopped] = useState(false);
  const [remarks, setRemarks] = useState<RemarkCode[]>([]);
  const leaving = useRef<AbortController | null>(null);
  useEffect(() => () => leaving.current?.abort(), []);

  const draw = useCallback(
    async (asked: NewDrawing) => {
      const controller = new AbortController();
      leaving.current = controller;
      setLive({ id: asked.id, ...BEGUN });
      setFault(null);
      setStopped(false);
      setRemarks([]);
      try {
        for await (const event of events<DrawEvent>("/api/drawings", asked, controller.signal)) {
          if (event.type === "remarks") setRemarks(event.remarks.map(({ code }) => code));
          else if (event.type === "queued") setLive((now) => now && { ...now, position: event.position });
          else if (event.type === "step") setLive({ id: asked.id, position: 0, ...event });
          else if (event.type === "error") setFault(event.error);
          else {
            setStopped(event.stopped);
            if (event.drawing) onDrawn(event.drawing);
          }
        }
      } catch (error) {
        if (!controller.signal.aborted) setFault(faultFrom(error));
      } finally {
        setLive(null);
      }
    },
    [onDrawn],
  );
  const stop = useCallback((id: string) => void post(`/api/drawings/${id}/stop`).catch((e) => setFault(faultFrom(e))), []);
  return { live, fault, setFault, stopped, remarks, draw, stop };
}
