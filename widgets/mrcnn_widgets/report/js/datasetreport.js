// @ts-check
// The report on a data set: its summary, the gallery, the page of a case, and the stages of a case.

import { make } from "../../viewer/js/dom.js";
import { blockBytes, blockJson } from "./blocks.js";
import { CasePage } from "./casepage.js";
import { caseAddress, caseAt, galleryAddress, isDetection, unpackCases } from "./cases.js";
import { Photos } from "./crops.js";
import { Gallery } from "./gallery.js";
import { Help, SEARCH_CASES } from "./help.js";
import { goTo, writeRoute } from "./route.js";
import { TracePage } from "./tracepage.js";

/**
 * @typedef {import("./cases.js").Case} Case
 * @typedef {import("./route.js").Route} Route
 */

export class DatasetReport {
  /** @param {HTMLElement} summary @param {{ cases: string }} report */
  constructor(summary, report) {
    this.block = report.cases;
    this.help = new Help(SEARCH_CASES);
    this.pages = { summary, gallery: pageOf("gallery"), case: pageOf("case"), stages: pageOf("trace") };
    /** @type {Record<string, number>} */
    this.scrolled = {}; // how far each page was, so that the way back leads there
    /** @type {keyof typeof this.pages} */
    this.page = "summary";
    /** @type {Case | null} */
    this.one = null; // the case that is shown
    this.turn = 0; // which view is asked for: an earlier one may be ready later
  }

  /** Unpacks the cases, once they are asked for. */
  async open() {
    const table = await blockJson(this.block);
    const cases = unpackCases(table);
    const pictures = new Map(cases.map(({ photo }) => [photo.id, photo.picture ?? ""]));
    const photos = new Photos(async (id) => new Blob([await blockBytes(pictures.get(id) ?? "")]));
    const dataset = {
      cases,
      photos,
      colors: table.colors,
      causes: table.causes,
      stagesOf: (/** @type {Case} */ one, /** @type {string} */ query) => {
        const stage = table.stages.indexOf(one.item.stage ?? "detection") + 1;
        return one.photo.traced ? stagesAddress(one, stage, query) : null;
      },
    };
    this.dataset = dataset;
    this.gallery = new Gallery(this.pages.gallery, dataset);
    this.casePage = new CasePage(this.pages.case, dataset);
  }

  /** @param {Route} route */
  async show({ page, id, params }) {
    const turn = ++this.turn;
    if (page !== "gallery" && page !== "case") return this.turnTo("summary");
    await (this.opened ??= this.open());
    if (turn !== this.turn || !this.dataset || !this.gallery) return;
    this.query = params.get("q") ?? "";
    const one = page === "case" ? caseAt(this.dataset.cases, Number(id), params) : null;
    this.one = one ?? null;
    if (!one) {
      this.turnTo("gallery");
      this.gallery.show(this.query);
    } else if (params.has("stage") && one.photo.traced) {
      await this.showStages(one.photo.traced, params);
    } else {
      this.turnTo("case", true);
      await this.casePage?.show(one, this.query);
    }
  }

  /**
   * Shows a page, from its top or where it was left.
   * @param {keyof typeof this.pages} page
   */
  turnTo(page, fromTop = false) {
    this.scrolled[this.page] = scrollY;
    const same = page === this.page;
    this.page = page;
    for (const [name, element] of Object.entries(this.pages)) element.hidden = name !== page;
    if (!same || fromTop) scrollTo(0, fromTop ? 0 : (this.scrolled[page] ?? 0));
  }

  /** @param {string} block of the trace @param {URLSearchParams} params */
  async showStages(block, params) {
    const record = await blockJson(block);
    this.turnTo("stages");
    if (this.traced !== block) {
      this.trace?.view.destroy();
      this.pages.stages.replaceChildren();
      this.trace = new TracePage(this.pages.stages, record);
      this.traced = block;
    }
    const up = this.pages.stages.querySelector("a.up");
    if (up && this.one) {
      up.setAttribute("href", caseAddress(this.one, this.query ?? ""));
      up.textContent = "← case";
    }
    await this.trace?.show(params);
  }

  /** @param {string} key @returns {boolean} whether it meant something */
  key(key) {
    if (this.help.key(key)) return true;
    if (key === "/") {
      if (this.page !== "gallery") goTo(galleryAddress(this.query ?? ""));
      (this.opened ?? Promise.resolve()).then(() => this.gallery?.focus());
      return true;
    }
    if (this.page === "stages") return this.stagesKey(key);
    if (key === "Escape") return this.up();
    if (this.page !== "case" || !this.one) return false;
    if (key === "ArrowLeft" || key === "ArrowRight") {
      this.casePage?.go(key === "ArrowRight" ? 1 : -1);
      return true;
    }
    if (!/^[1-7]$/.test(key) || !this.one.photo.traced) return false;
    goTo(stagesAddress(this.one, Number(key), this.query ?? ""));
    return true;
  }

  /** @param {string} key */
  stagesKey(key) {
    const picked = new URLSearchParams(location.hash.split("?")[1]).has("row");
    if (key !== "Escape" || picked) return this.trace?.key(key) ?? false;
    if (this.one) goTo(caseAddress(this.one, this.query ?? ""));
    return true;
  }

  /** Leaves the search field, or goes from a case to the gallery and from there to the summary. */
  up() {
    const { activeElement } = document;
    if (activeElement instanceof HTMLInputElement) activeElement.blur();
    else if (this.page === "case") goTo(galleryAddress(this.query ?? ""));
    else if (this.page === "gallery") goTo("#/");
    else return false;
    return true;
  }
}

/** @param {string} name */
function pageOf(name) {
  return make("main", name, document.body, { hidden: "" });
}

/** @param {Case} one @param {number} stage from 1 @param {string} query */
function stagesAddress(one, stage, query) {
  const kind = isDetection(one) ? "detection" : "object";
  return writeRoute("case", one.photo.id, { stage, [kind]: one.row, q: query });
}
