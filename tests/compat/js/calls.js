// Tries the calls of a client and prints one verdict a line, as tests/compat/calls.py does.
// Used by every script of tests/compat/js/clients, by the Node of `.venv-agents`.

import { readFileSync } from "node:fs";

export const URL = process.env.TIFFIN_URL;
export const V1 = `${URL}/v1`;
export const KEY = "none";
export const EMBEDDER = "all-minilm-l6-v2";
export const RERANKER = "ms-marco-minilm-l-12-v2";

export const QUESTION = "What is the capital of Japan?";
export const LAKE = "How deep is Lake Baikal?";
export const PASSAGES = [
  "The Danube is 2,850 km long and flows through ten countries.",
  "Lake Baikal in Siberia is 1,642 metres deep, deeper than any other lake.",
  "Mount Kilimanjaro in Tanzania rises 5,895 metres above sea level.",
];
// The passage that answers LAKE.
export const DEEPEST = 1;

// Each call is a function that throws when the client is not served.
export class Calls {
  #found = [];

  constructor(client) {
    this.client = client;
    this.version = JSON.parse(
      readFileSync(new globalThis.URL(`node_modules/${client}/package.json`, import.meta.url)),
    ).version;
  }

  // The call does what its documentation says.
  works(name, attempt) {
    this.#found.push({ name, attempt, error: "", why: "" });
  }

  // The call throws an error with these words in it; `why` says why that is.
  fails(name, { error, why }, attempt) {
    this.#found.push({ name, attempt, error, why });
  }

  // Tries all, in order; names given as arguments choose some.
  async run() {
    const chosen = process.argv.slice(2);
    for (const call of this.#found) {
      if (chosen.length && !chosen.includes(call.name)) continue;
      const raised = await thrown(call.attempt);
      const verdict = {
        client: `${this.client} in JavaScript`,
        version: this.version,
        call: call.name,
        works: !call.why,
        why: call.why,
        surprise: surprise(call, raised),
      };
      console.log(JSON.stringify(verdict));
    }
  }
}

async function thrown(attempt) {
  try {
    await attempt();
    return null;
  } catch (error) {
    const causes = [error.cause, error.lastError].filter(Boolean).map((one) => one.message);
    return [`${error.name}: ${error.message}`, error.responseBody, ...causes].filter(Boolean).join(" | ");
  }
}

function surprise(call, raised) {
  if (!call.why) return raised ?? "";
  if (raised === null) return "it works now";
  return raised.includes(call.error) ? "" : raised;
}
