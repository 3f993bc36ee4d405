// @ts-check
// The list of objects and detections of a photo, each with what became of it.

import { make } from "../../viewer/js/dom.js";

/**
 * @typedef {{ subject: [string, number], name: string, words: string, reason: string, found: boolean, stage: string | null }} Listed
 */

export class Subjects {
  /**
   * @param {HTMLElement} root @param {Listed[]} listed
   * @param {{ address: (changes: Record<string, string | number | null>) => string }} page
   */
  constructor(root, listed, page) {
    this.listed = listed;
    this.page = page;
    make("h2", "", root).textContent = "Objects and detections";
    this.list = make("ul", "", root);
  }

  /** @param {string | null} subject @param {string} query */
  show(subject, query) {
    this.query = query;
    this.list.replaceChildren();
    for (const { subject: [kind, row], name, words, found } of this.listed) {
      const here = `${kind}-${row}` === subject;
      const item = make("li", found ? "" : "lost", this.list);
      const href = this.page.address({ object: null, detection: null, [kind]: row, row: null });
      const link = make("a", "", item, { href, ...(here ? { "aria-current": "true" } : {}) });
      link.textContent = name;
      make("span", "", item).textContent = words;
    }
  }

  focus() {
    return false;
  }
}
