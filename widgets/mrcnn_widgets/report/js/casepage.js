// @ts-check
// The page of one case: its photo with objects and detections, what is known, and the way on.

import { make } from "../../viewer/js/dom.js";
import { blockJson } from "./blocks.js";
import { caseAddress, casesFound, galleryAddress, isDetection, neighbors } from "./cases.js";
import { copyLine } from "./copyline.js";
import { cropAround } from "./crops.js";
import { outcomeOf } from "./gallery.js";
import { ready } from "./packs.js";
import { SceneView, pictureOf } from "./sceneview.js";
import { parseSearch, printSearch } from "./search.js";
import { factList } from "./sidepanel.js";

/**
 * @typedef {import("./cases.js").Case} Case
 *
 * What Python packed of a photo.
 * @typedef {object} PackedPhoto
 * @property {import("./sceneview.js").Frame} frame
 * @property {import("./packs.js").Packed[]} layers
 * @property {Record<number, Known>} objects by number
 * @property {Record<number, Known>} detections by number
 *
 * What is known of an object or a detection: its row in the layer, name and value of each fact, and
 * what explains it in a terminal and in Python.
 * @typedef {{ place: number, facts: [string, string][], commands: string[] }} Known
 */

const NOT_TRACED = "Its way through the stages is not in this file; this tells it:";

export class CasePage {
  /** @param {HTMLElement} root @param {import("./gallery.js").Dataset} dataset */
  constructor(root, dataset) {
    this.dataset = dataset;
    this.root = root;
    /** @type {SceneView | null} */
    this.view = null;
    this.turn = 0; // which case is asked for: an earlier one may be ready later
  }

  /** Shows a case within a search. @param {Case} one @param {string} query */
  async show(one, query) {
    const turn = ++this.turn;
    const found = casesFound(this.dataset.cases, parseSearch(query).tokens);
    this.around = neighbors(found, one);
    this.query = query;
    this.clear();
    this.showWay(found.length);
    const heading = make("h1", "", this.root, { tabindex: "-1" });
    heading.textContent = `${one.item.class}: ${outcomeOf(one, this.dataset)}`;
    heading.focus({ preventScroll: true });
    const columns = make("div", "columns", this.root);
    const left = make("div", "stage", columns);
    const facts = make("div", "side", columns);
    this.showPlace(facts, one);
    const { id, packed: block, picture, traced } = one.photo;
    if (!block) {
      make("p", "note", left).textContent = "This photo was left out to keep the file small.";
      return;
    }
    /** @type {[PackedPhoto, ImageBitmap | null, string[]]} */
    const [packed, bitmap, said] = await Promise.all([
      blockJson(block),
      picture ? this.dataset.photos.bitmap(id) : null,
      traced ? this.sentences(traced, one) : [],
    ]);
    if (turn !== this.turn) return;
    const known = (isDetection(one) ? packed.detections : packed.objects)[one.row];
    this.showPhoto(left, one, packed, known, bitmap);
    for (const sentence of said) make("p", "", facts).textContent = sentence;
    factList(facts, "What is known", known.facts);
    if (known.commands.length && !traced) make("p", "note", facts).textContent = NOT_TRACED;
    for (const command of known.commands) copyLine(facts, command);
  }

  /** What a trace says of a case. @param {string} block @param {Case} one @returns {Promise<string[]>} */
  async sentences(block, one) {
    const { followed } = await blockJson(block);
    const kind = isDetection(one) ? "detection" : "object";
    return (await blockJson(followed))[`${kind}-${one.row}`]?.words ?? [];
  }

  clear() {
    this.view?.destroy();
    this.view = null;
    this.root.replaceChildren();
  }

  /** Before, after, and back to what was found. @param {number} count */
  showWay(count) {
    const { place = -1, before = null, after = null } = this.around ?? {};
    const way = make("nav", "way", this.root, { "aria-label": "Cases" });
    this.step(way, "prev", "← previous", before);
    const where = place < 0 ? "cases" : `${(place + 1).toLocaleString("en")} of ${count.toLocaleString("en")}`;
    const back = make("a", "", way, { href: galleryAddress(this.query ?? "") });
    back.textContent = this.query ? `${where} · ${this.query}` : where;
    this.step(way, "next", "next →", after);
  }

  /** @param {HTMLElement} way @param {string} rel @param {string} text @param {Case | null} one */
  step(way, rel, text, one) {
    const link = make("a", "", way, one ? { rel, href: caseAddress(one, this.query ?? "") } : { "aria-disabled": "true" });
    link.textContent = text;
  }

  /** Goes to the next case, or to the one before, if there is one. @param {1 | -1} direction */
  go(direction) {
    const one = direction > 0 ? this.around?.after : this.around?.before;
    if (one) location.hash = caseAddress(one, this.query ?? "");
  }

  /** @param {HTMLElement} parent @param {Case} one */
  showPlace(parent, one) {
    const token = { key: "photo", operator: "", value: one.photo.name, not: false };
    const line = make("p", "", parent);
    line.append(`${isDetection(one) ? "detection" : "object"} ${one.row} in `);
    make("a", "", line, { href: galleryAddress(printSearch([token])) }).textContent = one.photo.name;
    const stages = this.dataset.stagesOf(one, this.query ?? "");
    if (stages) make("a", "", make("p", "", parent), { href: stages }).textContent = "Stage by stage →";
  }

  /**
   * @param {HTMLElement} parent @param {Case} one @param {PackedPhoto} packed @param {Known} known
   * @param {ImageBitmap | null} bitmap
   */
  showPhoto(parent, one, { frame, layers }, known, bitmap) {
    const { x, y, side } = cropAround(one.box, one.photo);
    this.view = new SceneView(parent, () => {});
    this.view.show(pictureOf(bitmap, frame), frame, layers.map(ready), {
      selected: [isDetection(one) ? "detections" : "objects", known.place],
      title: "",
      view: [x, y, x + side, y + side],
    });
  }
}
