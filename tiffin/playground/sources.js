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

  /** Highlight the quote of a citation in its passage. */
  show({ source: number, quote }) {
    for (const [index, { text }] of this.rows) {
      text.replaceChildren(this.sources.find((source) => source.index === index).text);
      text.closest("li").classList.remove("active");
    }
    const row = this.rows.get(number);
    if (!row) return;
    const passage = row.text.textContent;
    const at = passage.indexOf(quote);
    const mark = el("mark", {}, at < 0 ? passage : quote);
    row.text.replaceChildren(...(at < 0 ? [mark] : [passage.slice(0, at), mark, passage.slice(at + quote.length)]));
    row.item.classList.add("active");
    row.box.open = true;
    mark.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
}

function row(source, number, open) {
  const text = el("p.passage", { id: `passage-${number}` }, source.text);
  const name = [source.title || source.document_id || `Document ${source.document + 1}`, ...(source.headings ?? [])].join(" › ");
  const place = source.page ? `page ${source.page}` : `characters ${source.start.toLocaleString("en")} to ${source.end.toLocaleString("en")}`;
  const box = el("details", { open },
    el("summary", {},
      el("span.number", {}, String(source.index)),
      el("span.name", {}, name),
      el("span.hint.score", { title: "Relevance by the reranker" }, percent(source.score))),
    text,
    source.flags?.length ? el("p.flag", {}, `Flagged by the safety check: ${source.flags.join(", ")}`) : null,
    el("p.hint", {}, `${place}; relevance ${source.score.toFixed(3)} by the reranker, similarity ${source.similarity.toFixed(3)} by the embedding`));
  return { item: el("li", {}, box), text, box };
}
