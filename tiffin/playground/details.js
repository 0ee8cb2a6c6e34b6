// What it took: the stages on a timeline against their budgets, who answered and why, tokens and cost.

import { dollars, duration, el } from "./dom.js";

const NAMES = {
  recall: "Look for a kept answer",
  embed: "Embed",
  search: "Search",
  rerank: "Rerank",
  widen: "Widen passages",
  screen: "Check passages",
  check: "Check input",
  evidence: "Weigh evidence",
  route: "Choose a tier",
  generate: "Answer",
  cite: "Cite",
  remember: "Keep the answer",
};

const OUTCOMES = { ran: "ran, only logged", not_run: "did not run, as its service was away" };

export function details(answer, about) {
  return el("div.details", {}, timeline(answer.timings, about), bill(answer));
}

/** Where each stage lies: one after the other, except those that run beside the retrieval. */
export function spans(timings, stages) {
  const took = (name) => timings[`${name}_ms`] ?? 0;
  const known = new Set(stages.map(({ name }) => name));
  const extra = Object.keys(timings)
    .map((field) => field.slice(0, -3))
    .filter((name) => !known.has(name) && name !== "total" && name !== "first_token")
    .map((name) => ({ name, budget_ms: 0, beside: true }));
  let end = 0;
  let first = 0;
  const placed = [];
  for (const stage of [...stages, ...extra]) {
    const ms = took(stage.name);
    if (stage.beside) {
      placed.push({ ...stage, start: first, ms });
    } else {
      if (stage.last) end = Math.max(end, ...placed.map((other) => other.start + other.ms));
      placed.push({ ...stage, start: end, ms });
      end += ms;
      first ||= end;
    }
  }
  return placed;
}

function timeline(timings, { stages, deadline_ms, rest_ms }) {
  const placed = spans(timings, stages);
  const whole = Math.max(timings.total_ms, ...placed.map(({ start, ms }) => start + ms), 0.001);
  // Budgets are shares of the deadline: they grow and shrink with it.
  const scale = deadline_ms / (stages.reduce((sum, stage) => sum + stage.budget_ms, 0) + rest_ms);
  const rows = placed.map(({ name, start, ms, budget_ms }) => {
    const budget = budget_ms * scale;
    const over = budget > 0 && ms > budget;
    const bar = el("span.bar", { "data-over": over });
    const room = el("span.room");
    bar.style.insetInlineStart = room.style.insetInlineStart = `${(100 * start) / whole}%`;
    bar.style.inlineSize = `${(100 * ms) / whole}%`;
    room.style.inlineSize = `${Math.min(100 - (100 * start) / whole, (100 * budget) / whole)}%`;
    return el("tr", { "data-idle": ms === 0 },
      el("th", { scope: "row" }, NAMES[name] ?? name),
      el("td.track", { "aria-hidden": "true" }, ms ? [room, bar] : []),
      el("td.figure", {}, ms ? duration(ms) : "not run"),
      el("td.figure.hint", { "data-over": over }, budget ? `of ${duration(budget)}` : "", over ? el("span.away", {}, ", which it passed") : null));
  });
  const first = timings.first_token_ms ? `first words after ${duration(timings.first_token_ms)}, ` : "";
  return el("section.time", { "aria-label": "Time" },
    el("h3", {}, "Time"),
    el("table", {},
      el("colgroup", {}, [1, 2, 3, 4].map(() => el("col"))),
      el("thead.away", {}, el("tr", {}, ["Stage", "When", "Took", "Budget"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows)),
    el("p.hint", {}, `${first}all after ${duration(timings.total_ms)} of ${duration(deadline_ms)}`));
}

function bill({ route, usage, cost, id, cache, checks }) {
  const rows = [
    ["Tier", route.tier],
    ["Model", route.tier === "quote" ? "none: sentences of the documents" : route.model],
    ["Why", route.reason],
    ["Tokens read", `${usage.prompt_tokens} by the LLM (${usage.cached_tokens} cached), ${usage.embedding_tokens} by the embedding, ${usage.rerank_tokens} by the reranker`],
    ["Tokens written", String(usage.completion_tokens)],
    ["Cost", `${dollars(cost.usd)}${cost.estimated ? " (estimated)" : ""}; by the strongest tier ${dollars(cost.strongest_usd)}`],
    ["Cache", verdict(cache)],
    ["Checks", (checks ?? []).map(({ part, check, outcome }) => `${check.replaceAll("_", " ")} of the ${part}: ${OUTCOMES[outcome] ?? outcome.replaceAll("_", " ")}`).join("; ")],
    ["Request", id],
  ].filter(([, value]) => value);
  return el("section.bill", { "aria-label": "Tier, tokens and cost" },
    el("h3", {}, "Tier, tokens and cost"),
    el("dl", {}, rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

/** What the response's headers say of the cache, in words. */
function verdict(seen) {
  if (!seen?.cache) return "not asked";
  const age = seen.age ? ` ${seen.age} s ago` : "";
  if (seen.cache === "exact") return `hit: the same question was answered${age}`;
  if (seen.cache === "semantic") return `hit: a question of the same meaning was answered${age} (similarity ${Number(seen.similarity).toFixed(3)})`;
  return "miss: no kept answer, so this one was made now";
}
