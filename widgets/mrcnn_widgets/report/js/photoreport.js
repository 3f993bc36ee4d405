// @ts-check
// The report on one photo: its summary, and the page with its stages.

import { make } from "../../viewer/js/dom.js";
import { blockJson } from "./blocks.js";
import { Help } from "./help.js";
import { writeRoute } from "./route.js";
import { TracePage } from "./tracepage.js";

/** @typedef {import("./route.js").Route} Route */

export class PhotoReport {
  /** @param {HTMLElement} summary @param {{ case: { id: number, block: string }, ways: Record<string, string[]> }} report */
  constructor(summary, report) {
    this.summary = summary;
    this.case = report.case;
    this.ways = report.ways;
    this.page = make("main", "trace", document.body, { hidden: "", id: "trace" });
    summary.after(this.page);
    this.help = new Help();
    /** @type {TracePage | null} */
    this.trace = null;
  }

  /** @param {Route} route */
  async show(route) {
    const inside = route.page === "case" && route.id === String(this.case.id);
    this.inside = inside;
    this.summary.hidden = inside;
    this.page.hidden = !inside;
    if (!inside) return;
    const record = await blockJson(this.case.block);
    this.trace ??= new TracePage(this.page, record, this.ways);
    await this.trace.show(route.params);
  }

  /** @param {string} key @returns {boolean} whether it meant something */
  key(key) {
    if (this.help.key(key)) return true;
    if (this.inside && this.trace?.key(key)) return true;
    if (key === "Escape" && this.inside) {
      location.hash = "#/";
      return true;
    }
    if (/^[1-7]$/.test(key)) {
      location.hash = writeRoute("case", this.case.id, { stage: key });
      return true;
    }
    return false;
  }
}
