// @ts-check
// The program of a report: shows what the address asks for.

import { blockJson } from "./blocks.js";
import { DatasetReport } from "./datasetreport.js";
import { PhotoReport } from "./photoreport.js";
import { readRoute } from "./route.js";

const report = await blockJson("report");
const kinds = { dataset: DatasetReport, photo: PhotoReport };
const summary = /** @type {HTMLElement} */ (document.getElementById("summary"));
const app = new kinds[/** @type {keyof typeof kinds} */ (report.kind)](summary, report);

function follow() {
  app.show(readRoute(location.hash));
}

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
