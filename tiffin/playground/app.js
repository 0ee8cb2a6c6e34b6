// The page: reads the form, asks, and puts the answers in their places.

import { ApiError, ask, getJson, key } from "./api.js";
import { Answer } from "./answer.js";
import { Corpora } from "./corpora.js";
import { Documents } from "./documents.js";
import { byId, count, el } from "./dom.js";
import { showSnippets } from "./snippets.js";
import { watchHealth } from "./status.js";

const documents = new Documents();
const corpora = new Corpora();
const question = byId("question");
let about = null;
let running = null;

async function connect() {
  try {
    about = await getJson("v1/playground");
    banner("");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      const rejected = key.get() ? "The server does not accept this API key." : "This server asks for an API key.";
      banner(`${rejected} Press “API key” to type ${key.get() ? "another" : "one"}.`);
    } else {
      banner("The server is starting, or cannot be reached.");
      setTimeout(connect, 2000);
    }
    return;
  }
  documents.limits = about.limits;
  fillModels();
  look();
  await corpora.load().catch((error) => documents.note(error.message));
}

function banner(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
}

function fillModels() {
  const option = ({ name, model }) => el("option", { value: name }, model && model !== name ? `${name} (${model})` : name);
  byId("model").replaceChildren(...about.models.map(option));
  byId("other").replaceChildren(el("option", { value: "" }, "nothing"), ...about.models.map(option));
}

function body(model) {
  const made = { query: question.value.trim() };
  if (corpora.chosen) made.corpus = corpora.forRequest();
  else made.documents = documents.forRequest();
  if (model !== "auto") made.model = model;
  if (byId("grounding").value) made.grounding = byId("grounding").value;
  return { ...made, stream: true };
}

async function submit() {
  if (running) return running.abort();
  if (!question.value.trim()) return question.focus();
  if (!about) await connecting;
  if (!about) return byId("banner").scrollIntoView(); // it says what is missing
  const chosen = [byId("model").value || "auto", byId("other").value].filter(Boolean);
  const bodies = chosen.map(body);
  if (bodies[0].documents?.length === 0) {
    byId("documents-box").open = true;
    documents.note("Add a text or a file first, or load the sample.");
    return byId("paste").focus();
  }
  const answers = chosen.map((name) => new Answer(chosen.length > 1 ? name : "Answer", about));
  byId("results").replaceChildren(...answers.map(({ element }) => element));
  byId("results").dataset.columns = answers.length;
  showSnippets(bodies[0]);
  running = new AbortController();
  byId("go").textContent = "Stop";
  await Promise.all(answers.map((answer, number) => follow(answer, bodies[number], running.signal)));
  running = null;
  byId("go").textContent = "Ask";
}

async function follow(answer, sent, signal) {
  try {
    for await (const event of ask(sent, signal)) answer.take(event);
  } catch (error) {
    if (error.status === 401) connect();
    answer.fail(error);
  }
}

function documentsChanged() {
  const store = corpora.chosen;
  byId("documents-count").textContent = store ? count(store.file_counts.total, "file") : documents.summary();
  const questions = store ? [] : documents.questions();
  byId("examples").replaceChildren(...questions.map((text) =>
    el("button.chip", { type: "button", onclick: () => useExample(text) }, text)));
}

function useExample(text) {
  if (running) return;
  question.value = text;
  fit();
  submit();
}

/** As many rows as the text needs, for browsers without `field-sizing`. */
function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
question.addEventListener("input", fit);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) submit();
  }
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value.trim());
  byId("key").value = "";
  byId("key-box").hidePopover();
  connect();
});
byId("key-forget").addEventListener("click", () => {
  key.set("");
  byId("key-box").hidePopover();
  connect();
});

documents.onchange = documentsChanged;
corpora.onchange = documentsChanged;
documentsChanged();
if (matchMedia("(max-width: 55rem)").matches) byId("documents-box").open = false;
const look = watchHealth(() => about);
const connecting = connect();
