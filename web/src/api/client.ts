import type { Fault } from "./types";

/** An answer of the server that is not a success, or no answer at all (code `offline`). */
export class ApiError extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message);
  }
}

const OFFLINE: Fault = { code: "offline", message: "The server does not answer." };

export async function faultOf(response: Response): Promise<Fault> {
  try {
    const body = (await response.json()) as { error?: Fault };
    if (body.error) return body.error;
  } catch {
    // Not JSON: something between the page and the server answered.
  }
  return { code: "internal", message: `The server answered ${response.status}.` };
}

export async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      ...(method === "GET"
        ? {}
        : body instanceof File
          ? { headers: { "Content-Type": "application/octet-stream" }, body }
          : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(OFFLINE);
  }
  if (!response.ok) throw new ApiError(await faultOf(response));
  return response;
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, body);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const get = <T>(path: string) => json<T>("GET", path);
export const post = <T = void>(path: string, body?: unknown) => json<T>("POST", path, body);
export const put = <T = void>(path: string, body?: unknown) => json<T>("PUT", path, body);
export const patch = <T = void>(path: string, body?: unknown) => json<T>("PATCH", path, body);
export const remove = <T = void>(path: string) => json<T>("DELETE", path);

/** A version-4 UUID. `crypto.randomUUID` exists on secure pages only, and a classroom's network has no TLS. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export function faultFrom(error: unknown): Fault {
  if (error instanceof ApiError) return error.fault;
  return { code: "page", message: error instanceof Error ? error.message : String(error) };
}
