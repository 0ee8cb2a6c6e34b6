// The passages that an answer is based on, best first, with their scores.

import { el, percent } from "./dom.js";

let made = 0;

export class SourceList {
  constructor(sources, answered = true) {
    this.sources = sources;
    this.rows = new Map(sources.map((source) => [source.index, row(source, (made += 1), answered && source.index <= 2)]));
    const title = answered ? "Sources" : "The closest passages";
    this.element = el("section.sources", { "aria-label": title },
      el("h3", {}, title),
      sources.length ? el("ol", {}, [...this.rows.values()].map(({ item }) => item)) : el("p.hint", {}, "None"));
  }

  /** Highlight the quote of a citation in its passage; gives the passage's name and page. */
  show({ source: number, quote }) {
    for (const [index, { text }] of this.rows) {
      text.replaceChildren(this.sources.find((source) => source.index === index).text);
      text.closest("li").classList.remove("active");
    }
    const row = this.rows.get(number);
    if (!row) return "";
    const passage = row.text.textContent;
    const [from, to] = found(quote, passage);
    const mark = el("mark", {}, passage.slice(from, to));
    row.text.replaceChildren(passage.slice(0, from), mark, passage.slice(to));
    row.item.classList.add("active");
    row.box.open = true;
    mark.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    return row.name;
  }
}

/** Where a quote is in its passage, whatever the white space between its words; else all of it. */
function found(quote, passage) {
  const words = quote.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const match = new RegExp(words.join("\\s+"), "u").exec(passage);
  return match ? [match.index, match.index + match[0].length] : [0, passage.length];
}

function row(source, number, open) {
  const text = el("p.passage", { id: `passage-${number}` }, source.text);
  const title = source.title || source.document_id || `Document ${source.document + 1}`;
  const name = [source.page ? `${title}, from page ${source.page}` : title, ...(source.headings ?? [])].join(" › ");
  const place = `characters ${source.start.toLocaleString("en")} to ${source.end.toLocaleString("en")}`;
  const box = el("details", { open },
    el("summary", {},
      el("span.number", {}, String(source.index)),
      el("span.name", {}, name),
      el("span.hint.score", { title: "Relevance by the reranker" }, percent(source.score))),
    text,
    source.flags?.length ? el("p.flag", {}, `Flagged by the safety check: ${source.flags.join(", ")}`) : null,
    el("p.hint", {}, `${place}; relevance ${source.score.toFixed(3)} by the reranker, similarity ${source.similarity.toFixed(3)} by the embedding`));
  return { item: el("li", {}, box), text, box, name };
}
