// @ts-check
// The list of objects and detections of a photo, each with what became of it, and its search.

import { make } from "../../viewer/js/dom.js";
import { finds, parseSearch, printToken } from "./search.js";

/**
 * @typedef {object} Listed
 * @property {[string, number]} subject "object" or "detection", and its number
 * @property {string} name
 * @property {string} words what became of it
 * @property {boolean} found
 * @property {import("./search.js").Item} item what the search looks at
 *
 * @typedef {object} Acts
 * @property {(changes: Record<string, string | number | null>) => string} address
 * @property {(query: string) => void} search
 */

export class Subjects {
  /** @param {HTMLElement} root @param {Listed[]} listed @param {Acts} acts */
  constructor(root, listed, acts) {
    this.listed = listed;
    this.acts = acts;
    make("h2", "", root).textContent = "Objects and detections";
    const form = make("form", "search", root, { role: "search" });
    this.input = make("input", "", form, {
      type: "search",
      placeholder: "is:missed class:person score:>0.5",
      "aria-label": "Search objects and detections",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.count = make("span", "note", form, { role: "status" });
    this.chips = make("p", "chips", root);
    this.list = make("ul", "", root);
    form.addEventListener("submit", (event) => event.preventDefault());
    this.input.addEventListener("input", () => acts.search(this.input.value));
  }

  /** @param {string | null} subject that is followed @param {string} query */
  show(subject, query) {
    if (document.activeElement !== this.input) this.input.value = query;
    const { tokens, problems } = parseSearch(query);
    const found = this.listed.filter(({ item }) => finds(tokens, item));
    this.count.textContent = problems.join("; ") || `${found.length} of ${this.listed.length}`;
    this.showChips(query);
    this.list.replaceChildren();
    for (const one of found) this.add(one, subject);
  }

  /** @param {Listed} one @param {string | null} subject */
  add({ subject: [kind, row], name, words, found }, subject) {
    const here = `${kind}-${row}` === subject ? { "aria-current": "true" } : {};
    const item = make("li", found ? "" : "lost", this.list);
    const href = this.acts.address({ object: null, detection: null, [kind]: row, row: null });
    make("a", "", item, { href, ...here }).textContent = name;
    make("span", "", item).textContent = words;
  }

  /** What a click searches for: each cause, and each kind of mistake. @param {string} query */
  showChips(query) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const { item } of this.listed) {
      const key = item.is === "missed" ? "cause" : item.is === "wrong" ? "kind" : "is";
      const text = printToken({ key, operator: "", value: String(item[key]), not: false });
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    this.chips.replaceChildren();
    for (const [text, count] of counts) {
      const on = query === text;
      const link = make("a", "", this.chips, { href: this.acts.address({ q: on ? null : text }), ...(on ? { "aria-current": "true" } : {}) });
      link.textContent = `${text} · ${count}`;
    }
  }

  focus() {
    this.input.focus();
    this.input.select();
  }
}
