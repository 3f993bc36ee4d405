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
    const { target } = event;
    const typing = target instanceof HTMLElement && target.matches("input:not([type=range]), select, textarea");
    if (typing && event.key !== "Escape") return;
    if (app.key(event.key)) event.preventDefault();
  });
  follow();
  document.body.dataset.live = "true"; // from here on keys are heard
}
