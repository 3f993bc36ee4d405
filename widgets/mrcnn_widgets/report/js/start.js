// @ts-check
// Starts the program of a report: it shows what the address asks for.

import { blockJson } from "./blocks.js";
import { readRoute } from "./route.js";

/**
 * A kind of report.
 * @typedef {object} Report
 * @property {(route: import("./route.js").Route) => void} show
 * @property {(key: string) => boolean} key whether it meant something
 */

/** @param {new (summary: HTMLElement, report: any) => Report} Kind made of the block "report" */
export async function start(Kind) {
  const summary = /** @type {HTMLElement} */ (document.getElementById("summary"));
  const app = new Kind(summary, await blockJson("report"));
  const follow = () => app.show(readRoute(location.hash));
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement && keeps(event.target, event.key)) return;
    if (app.key(event.key)) event.preventDefault();
  });
  follow();
  document.body.dataset.live = "true"; // from here on keys are heard
}

/** Whether a key is the field's own: a slider's arrows, and what is typed. @param {HTMLInputElement} field @param {string} key */
function keeps({ type }, key) {
  if (type === "range") return key.startsWith("Arrow");
  return type !== "checkbox" && key !== "Escape";
}
