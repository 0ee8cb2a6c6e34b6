// One answer: it streams in, then each sentence gets the number of its source. A number, or the
// sentence itself, highlights the quote in its passage.

import { details } from "./details.js";
import { duration, count, dollars, el, percent, say } from "./dom.js";
import { SourceList } from "./sources.js";

const WITHOUT = {
  embedding: "the embedding was away, so passages were found by the words that they share with the question",
  rerank: "the reranker was away, so passages are in the order of the search",
  evidence: "there was no time to check whether the passages answer the question",
  router: "the router was away, so the first tier answered",
};

export class Answer {
  /** `name` is what the reader chose; `about` is what the server says of itself. */
  constructor(name, about) {
    this.about = about;
    this.text = "";
    this.citations = [];
    this.cache = null;
    this.stopped = [];
    this.body = el("div.answer", { "aria-busy": "true" });
    this.heading = el("h2", {}, name);
    this.meta = el("span.hint.meta", {}, "asking");
    this.rest = el("div.rest");
    this.element = el("article.card.result", { "aria-label": `Answer by ${name}` },
      el("header", {}, this.heading, this.meta), this.body, this.rest);
    this.body.append(caret());
  }

  /** Take one event of the stream. */
  take(event) {
    if (event.object === "headers") {
      this.cache = event;
    } else if (event.object === "rag.sources") {
      this.meta.textContent = `${event.route.model} reads ${count(event.sources.length, "passage")}`;
      this.sources = new SourceList(event.sources);
      this.rest.replaceChildren(this.sources.element);
    } else if (event.object === "rag.delta") {
      this.text += event.text;
      this.citations.push(...(event.citations ?? []));
      this.body.replaceChildren(...this.sentences({ answer: this.text, citations: this.citations }), caret());
    } else if (event.object === "rag.stopped") {
      this.stopped = event.checks;
    } else if (event.object === "rag.answer") {
      this.finish(event);
    }
  }

  finish(answer) {
    const { route, timings, cost } = answer;
    this.meta.textContent = [
      route.tier === route.model ? route.tier : `${route.tier}: ${route.model}`,
      (this.cache?.cache ?? "miss") === "miss" ? duration(timings.total_ms) : "from the cache",
      dollars(cost.usd),
    ].join("  ·  ");
    this.sources = new SourceList(answer.sources, answer.answered);
    this.body.removeAttribute("aria-busy");
    this.body.classList.toggle("refused", !answer.answered);
    this.body.replaceChildren(...this.sentences(answer));
    this.rest.replaceChildren(
      ...[verdict(answer), notes(answer, this.stopped), contradictions(answer), this.sources.element, details({ ...answer, cache: this.cache }, this.about)].filter(Boolean),
    );
    say(answer.answered ? `Answered, with ${count(answer.citations.length, "citation")}.` : "The documents do not answer this question.");
  }

  /** The answer's text, in which each cited part is followed by the numbers of its sources. */
  sentences(answer) {
    const parts = [];
    let end = 0;
    for (const group of bySpan(answer.citations)) {
      const { start_utf16: from, end_utf16: to } = group[0];
      if (from < end) continue;
      parts.push(...uncited(answer, end, from), this.cited(answer.answer.slice(from, to), group));
      end = to;
    }
    return [...parts, ...uncited(answer, end, answer.answer.length)];
  }

  cited(text, group) {
    const activate = (citation) => {
      for (const other of this.body.querySelectorAll(".active")) other.classList.remove("active");
      for (const other of this.body.querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
      sentence.classList.add("active");
      buttons[group.indexOf(citation)].setAttribute("aria-pressed", "true");
      const name = this.sources.show(citation);
      say(`Source ${citation.source}, ${name}: ${citation.quote}`);
    };
    const buttons = group.map((citation) =>
      el("button.cite", {
        type: "button",
        "aria-pressed": "false",
        "aria-label": `Source ${citation.source}, which holds ${percent(citation.support)} of this sentence`,
        onclick: (event) => (event.stopPropagation(), activate(citation)),
      }, String(citation.source)));
    const [, start, lastWord] = text.match(/^(.*?)(\S*\s*)$/s);
    const sentence = el("span.cited", { onclick: () => String(getSelection()) || activate(group[0]) },
      start, el("span.together", {}, lastWord, buttons));
    return sentence;
  }

  fail(error) {
    this.body.removeAttribute("aria-busy");
    this.meta.textContent = "";
    const stopped = error.name === "AbortError";
    const text = stopped ? "Stopped." : error.message;
    this.body.replaceChildren(this.text, el("p.error", { role: "alert" }, text));
  }
}

const caret = () => el("span.caret", { "aria-hidden": "true" });

function bySpan(citations) {
  const groups = new Map();
  for (const citation of citations) {
    const span = `${citation.start_utf16}-${citation.end_utf16}`;
    groups.set(span, [...(groups.get(span) ?? []), citation]);
  }
  return [...groups.values()].sort(([a], [b]) => a.start_utf16 - b.start_utf16);
}

/** Text between citations. Words there have no source, and look like it. */
function uncited(answer, from, to) {
  const text = answer.answer.slice(from, to);
  if (!/[\p{L}\p{N}]/u.test(text) || !answer.answered) return text ? [text] : [];
  return [el("span.uncited", { title: "No passage supports this" }, text, el("span.away", {}, " (no source)"))];
}

function verdict({ answered, probability }) {
  if (probability === null) return null;
  const says = answered ? "Found in the documents" : "Not found in the documents";
  const meter = el("meter", { min: 0, max: 1, value: probability, "aria-label": "Probability that the documents answer the question" });
  return el("p.verdict", { "data-answered": String(answered) }, el("strong", {}, says), meter, el("span.hint", {}, `${percent(probability)} likely that they answer this`));
}

function notes({ replaced, removed, degraded, finish_reason }, stopped) {
  const lines = [
    replaced && `${count(replaced, "sentence")} of the model had no support, so a quote stands in ${replaced === 1 ? "its" : "their"} place.`,
    removed && `${count(removed, "sentence")} of the model had no support and ${removed === 1 ? "was" : "were"} left out.`,
    finish_reason === "content_filter" && `The safety policy ended or changed this answer${stopped.length ? `: ${stopped.join(", ")}` : ""}.`,
    finish_reason === "length" && "The answer reached its longest length and was cut.",
    ...degraded.map((what) => `Given without ${what}: ${WITHOUT[what] ?? "its service was away or late"}.`),
  ].filter(Boolean);
  return lines.length ? el("ul.notes", {}, lines.map((line) => el("li", {}, line))) : null;
}

function contradictions({ contradictions: found, sources }) {
  if (!found.length) return null;
  const side = (number, quote) => {
    const source = sources.find(({ index }) => index === number);
    return el("blockquote", {}, quote, el("cite", {}, source?.title || `Source ${number}`));
  };
  return el("section.disagree", { "aria-label": "The documents disagree" },
    el("h3", {}, "The documents disagree"),
    found.map(({ sources: pair, quotes }) => el("div.pair", {}, side(pair[0], quotes[0]), side(pair[1], quotes[1]))));
}
