// The texts of this tab: paste, edit and remove them. They are kept in this tab only, and go to the
// server with each question. Files are corpora.js's.

import { byId, count, el } from "./dom.js";
import { DOCUMENTS, QUESTIONS } from "./sample.js";

const STORED = "tiffin.documents";

export class Documents {
  constructor() {
    this.items = stored() ?? DOCUMENTS.map((item) => ({ ...item }));
    this.limits = { documents: Infinity, document_chars: Infinity };
    this.onchange = () => {};
    byId("add").addEventListener("click", () => this.paste());
    byId("clear").addEventListener("click", () => this.replace([], "Removed all documents."));
    byId("sample").addEventListener("click", () => this.replace(DOCUMENTS.map((item) => ({ ...item })), "Loaded the sample."));
    this.render();
  }

  /** As a request takes them. Text that was pasted and not added counts too. */
  forRequest() {
    if (byId("paste").value.trim()) this.paste();
    return this.items.filter((item) => item.text.trim()).map(({ title, text }) => (title ? { title, text } : { text }));
  }

  /** How much there is, in words. */
  summary() {
    return this.items.length ? `${this.items.length} with ${size(this.items.map((item) => item.text).join(" "))}` : "none yet";
  }

  /** Example questions, while the documents are the sample's. */
  questions() {
    return isSample(this.items) ? QUESTIONS : [];
  }

  paste() {
    const field = byId("paste");
    const text = field.value.trim();
    if (!text) return this.note("There is no text to add yet.");
    field.value = "";
    return this.add([{ title: `Pasted text ${this.items.length + 1}`, text }]);
  }

  add(items) {
    const tooLong = items.find((item) => item.text.length > this.limits.document_chars);
    if (tooLong) {
      return this.note(`${tooLong.title}: ${count(tooLong.text.length, "character")}, and the limit is ${this.limits.document_chars.toLocaleString("en")}.`);
    }
    if (this.items.length + items.length > this.limits.documents) {
      return this.note(`A question takes at most ${count(this.limits.documents, "document")}.`);
    }
    return this.replace([...this.items, ...items], `Added ${count(items.length, "document")}.`);
  }

  replace(items, note) {
    this.items = items;
    this.render();
    this.changed();
    this.note(note);
  }

  note(text) {
    byId("documents-note").textContent = text;
  }

  changed() {
    try {
      sessionStorage.setItem(STORED, JSON.stringify(this.items));
    } catch {
      sessionStorage.removeItem(STORED); // too large to keep: they last until the page is reloaded
    }
    this.onchange();
  }

  render() {
    byId("clear").hidden = !this.items.length;
    byId("sample").hidden = isSample(this.items);
    byId("document-list").replaceChildren(...this.items.map((item) => this.row(item)));
  }

  row(item) {
    const words = el("span.hint", {}, size(item.text));
    const name = el("span.name", {}, item.title || "Untitled");
    const text = el("textarea", {
      "aria-label": `Text of ${item.title || "the document"}`,
      rows: 7,
      oninput: (event) => {
        item.text = event.target.value;
        words.textContent = size(item.text);
        this.changed();
      },
    });
    text.value = item.text;
    const remove = el("button.quiet.remove", {
      type: "button",
      "aria-label": `Remove ${item.title || "the document"}`,
      title: "Remove",
      onclick: () => this.replace(this.items.filter((other) => other !== item), `Removed ${item.title}.`),
    }, "×");
    return el("li", {}, el("details", {}, el("summary", {}, name, words), text), remove);
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

const isSample = (items) => DOCUMENTS.every(({ title }) => items.some((item) => item.title === title));
const size = (text) => count((text.match(/\S+/g) ?? []).length, "word");
