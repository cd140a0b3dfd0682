import { ApiError, send } from "./client";
import type { StreamEvent } from "./types";

/** The events of one `text/event-stream` answer to a POST; ends when the server closes the stream. */
export async function* events<T = StreamEvent>(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<T> {
  const response = await send("POST", path, body, signal);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5)) as T;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError({ code: "broken_off", message: "The connection broke off." });
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}
