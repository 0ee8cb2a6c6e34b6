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

async function json(path, options) {
  const response = await checked(await reached(path, { cache: "no-store", ...options }));
  return response.json();
}

export const getJson = (path) => json(path, { headers: headers() });
export const deleted = (path) => json(path, { method: "DELETE", headers: headers() });
export const postJson = (path, body) =>
  json(path, { method: "POST", headers: { "content-type": "application/json", ...headers() }, body: JSON.stringify(body) });

/** Upload a file for a corpus; `progress` gets the share that is sent, which `fetch` does not tell. */
export function upload(file, progress) {
  const form = new FormData();
  form.append("purpose", "user_data");
  form.append("file", file);
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "v1/files");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
    request.onload = () => {
      if (request.status < 300) done(request.response);
      else fail(new ApiError(request.status, request.response?.error));
    };
    request.onerror = () => fail(new ApiError(0, { message: "It could not be read or sent." }));
    request.send(form);
  });
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
  const [cache, similarity, age] = ["x-tiffin-cache", "x-tiffin-cache-similarity", "age"].map((name) => response.headers.get(name));
  yield { object: "headers", cache, similarity, age };
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
