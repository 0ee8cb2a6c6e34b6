// Calls the server that this page came from, and no other. Paths are relative, so that the page works
// behind a proxy that adds a prefix. The API key stays in this tab's sessionStorage.

const KEY = "tiffin.key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** What the server answered instead of what was asked for. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.param = detail?.param ?? null;
  }
}

function headers() {
  return key.get() ? { authorization: `Bearer ${key.get()}` } : {};
}

async function reached(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(0, { message: "The server cannot be reached." });
  }
}

async function checked(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error);
}

export async function getJson(path) {
  const response = await checked(await reached(path, { headers: headers(), cache: "no-store" }));
  return response.json();
}

/** The services' states; `/readyz` answers 503 with the same body while one is missing. */
export async function health() {
  const response = await fetch("readyz", { cache: "no-store" });
  return response.json();
}

/** Ask, and yield the stream's events: rag.sources, rag.delta, then rag.answer. */
export async function* ask(body, signal) {
  const response = await checked(
    await reached("v1/rag", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers() },
      body: JSON.stringify(body),
      signal,
    }),
  );
  yield { object: "headers", cache: response.headers.get("x-tiffin-cache"), age: response.headers.get("age") };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(500, event.error);
    yield event;
  }
  throw new ApiError(500, { message: "The answer ended before it was complete." });
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (text + value).split("\n\n");
    text = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
