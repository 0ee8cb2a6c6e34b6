// The button that says how the server is, and the box with its services and models.

import { health } from "./api.js";
import { byId, el } from "./dom.js";

const EVERY_MS = 10_000;
const WORDS = { ready: "Ready", degraded: "Degraded", down: "Not ready", draining: "Shutting down" };

/** Ask every ten seconds while the page is visible. `about` gives what is known of the server. */
export function watchHealth(about) {
  const look = async () => {
    if (!document.hidden) draw(await health().catch(() => null), about());
  };
  look();
  setInterval(look, EVERY_MS);
  addEventListener("visibilitychange", look);
  return look;
}

function draw(seen, about) {
  const state = seen?.services ? seen.status : "gone";
  byId("status").dataset.state = state;
  byId("status-text").textContent = WORDS[state] ?? (seen ? "Starting" : "No connection");
  const rows = Object.entries(seen?.services ?? {}).map(([name, says]) =>
    el("tr", {},
      el("th", { scope: "row" }, name),
      el("td", {}, about?.services[name] ?? ""),
      el("td", { "data-state": says === "ready" ? "ready" : "away" }, says)));
  const title = about ? `Tiffin ${about.version}, profile ${about.profile}` : "Tiffin";
  byId("services").replaceChildren(
    el("h2", {}, title),
    rows.length
      ? el("table", {}, el("thead.away", {}, el("tr", {}, ["Service", "Model", "State"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows))
      : el("p.hint", {}, "The server does not say how its services are."));
}
