// Files and the corpora that they are read into. A corpus is kept by the server, so it is there after
// the page is closed, and programs can ask it too.

import { deleted, getJson, postJson, upload } from "./api.js";
import { byId, count, el, percent, say } from "./dom.js";

const POLL_MS = 500;
const PAGE = "?limit=100&order=asc";
const STORES = "v1/vector_stores";

export class Corpora {
  constructor() {
    this.stores = [];
    this.rows = new Map(); // of the corpus that is shown, by the file's id
    this.onchange = () => {};
    byId("corpus").addEventListener("change", () => this.show());
    byId("corpus-delete").addEventListener("click", () => this.remove());
    byId("files").addEventListener("change", (event) => {
      this.send([...event.target.files]); // a copy: the field empties its own list
      event.target.value = "";
    });
    this.acceptDrops();
  }

  /** The corpus that is asked, if one is; else the texts of this tab are. */
  get chosen() {
    return this.stores.find(({ id }) => id === byId("corpus").value) ?? null;
  }

  /** As a request names it: by its name, unless another has the same one. */
  forRequest() {
    const { id, name } = this.chosen;
    return name && this.stores.filter((store) => store.name === name).length === 1 ? name : id;
  }

  /** Show which corpora there are, and choose one. */
  async load(choice = byId("corpus").value) {
    await this.count(choice);
    await this.show();
  }

  /** Ask the server which corpora there are, and how many files they have. */
  async count(choice = byId("corpus").value) {
    this.stores = (await getJson(`${STORES}?limit=100`)).data;
    byId("corpus").replaceChildren(
      el("option", { value: "" }, "the texts in this tab"),
      ...this.stores.map(({ id, name, file_counts: files }) => el("option", { value: id }, `${name || id} (${count(files.total, "file")})`)));
    byId("corpus").value = this.stores.some(({ id }) => id === choice) ? choice : "";
    this.onchange();
  }

  async show() {
    const store = this.chosen;
    byId("given").hidden = Boolean(store);
    byId("stored").hidden = !store;
    byId("corpus-name-row").hidden = Boolean(store);
    this.rows = new Map();
    byId("file-list").replaceChildren();
    this.onchange();
    if (store) await this.follow(store).catch((error) => this.note(error.message));
  }

  /** Show the files of a corpus until none is being read any more. */
  async follow(store) {
    for (;;) {
      const files = (await getJson(`${STORES}/${store.id}/files${PAGE}`)).data;
      if (this.chosen?.id !== store.id) return;
      for (const file of files) await this.update(store, file);
      const reading = files.filter(({ status }) => status === "in_progress").length;
      if (!reading) return;
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  async update(store, file) {
    let row = this.rows.get(file.id);
    if (!row) {
      const name = file.attributes.path ?? (await getJson(`v1/files/${file.id}`)).filename;
      row = this.row(store, name, file.id);
    }
    row.says(file.status, file.last_error?.message ?? count(file.chunks, "passage"));
  }

  /** A line of the list; `says` changes what it says of the file. */
  row(store, name, id = null) {
    const state = el("span.hint.state", {}, "waiting");
    const bar = el("progress", { max: 1, "aria-label": `Progress of ${name}` });
    const button = el("button.quiet.remove", {
      type: "button", "aria-label": `Remove ${name}`, title: "Remove", hidden: true,
      onclick: () => this.removeFile(row),
    }, "×");
    const row = { id, store, name, button, item: el("li", {}, el("span.name", {}, name), state, bar, button) };
    row.says = (status, text) => {
      const ended = status !== "in_progress";
      if (ended && row.ended === false) say(`${name}: ${text}`);
      row.ended = ended;
      row.item.dataset.state = status;
      bar.hidden = ended;
      button.hidden = !ended;
      state.textContent = ended ? text : "being read";
      if (!ended) bar.removeAttribute("value");
    };
    row.sent = (share) => {
      bar.value = share;
      state.textContent = `sending, ${percent(share)}`;
    };
    row.named = (given) => this.rows.set((row.id = given), row);
    if (id) row.named(id);
    byId("file-list").append(row.item);
    return row;
  }

  /** Upload files into the corpus that is chosen, or into the one that is named beside the button. */
  async send(files) {
    if (!files.length) return;
    try {
      if (!this.chosen) await this.load(await this.found(byId("corpus-name").value.trim() || "My files"));
    } catch (error) {
      return this.note(error.message);
    }
    const store = this.chosen;
    this.note(`Adding ${count(files.length, "file")} to ${store.name || store.id}.`);
    const rows = files.map((file) => this.row(store, file.name));
    for (const [number, file] of files.entries()) await this.sendOne(store, file, rows[number]);
    if (this.chosen?.id === store.id) await this.follow(store);
    const failed = rows.filter(({ item }) => item.dataset.state === "failed").length;
    this.note(failed ? `${count(failed, "file")} could not be read; the list says why.` : "All files can be asked now.");
    await this.count();
  }

  async sendOne(store, file, row) {
    const older = [...this.rows.values()].filter(({ name }) => name === file.name);
    try {
      const sent = await upload(file, row.sent);
      row.named(sent.id);
      await postJson(`${STORES}/${store.id}/files`, { file_id: sent.id, attributes: { path: file.name } });
      row.says("in_progress", "");
      for (const one of older) await this.removeFile(one);
    } catch (error) {
      row.says("failed", error.message);
    }
  }

  /** The id of the corpus of this name, which is made if there is none. */
  async found(name) {
    const known = this.stores.find((store) => store.name === name);
    return (known ?? (await postJson(STORES, { name }))).id;
  }

  async removeFile(row) {
    row.item.remove();
    this.rows.delete(row.id);
    if (row.id) await deleted(`v1/files/${row.id}`).catch((error) => this.note(error.message));
  }

  async remove() {
    const store = this.chosen;
    if (!confirm(`Delete the corpus ${store.name || store.id} and its files?`)) return;
    for (const row of [...this.rows.values()]) await this.removeFile(row);
    await deleted(`${STORES}/${store.id}`).catch((error) => this.note(error.message));
    await this.load("");
  }

  note(text) {
    byId("documents-note").textContent = text;
  }

  acceptDrops() {
    const drop = byId("drop");
    let depth = 0;
    const isFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", (event) => {
      if (isFiles(event)) drop.hidden = (depth += 1) === 0;
    });
    addEventListener("dragleave", (event) => {
      if (isFiles(event)) drop.hidden = (depth -= 1) <= 0;
    });
    addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      depth = 0;
      drop.hidden = true;
      this.send([...event.dataTransfer.files]);
    });
  }
}
