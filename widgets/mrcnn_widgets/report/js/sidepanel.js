// @ts-check
// What is said beside the viewer: settings, the picked row, what is followed, and the stage's tables.

import { make } from "../../viewer/js/dom.js";

/**
 * @typedef {import("./stages.js").Shown} Shown
 * @typedef {import("./stages.js").Table} Table
 */

export class SidePanel {
  /** @param {HTMLElement} root @param {{ set: (name: string, value: string) => void }} acts */
  constructor(root, acts) {
    this.controls = make("div", "controls", root);
    this.rest = make("div", "", root, { "aria-live": "polite" });
    this.acts = acts;
  }

  /**
   * @param {Shown} shown
   * @param {import("./tracepage.js").Followed | null} followed
   * @param {import("./subjects.js").Listed | null} listed
   */
  show(shown, followed, listed) {
    this.rest.replaceChildren();
    if (shown.note) make("p", "note", this.rest).textContent = shown.note;
    if (followed && listed) this.showFollowed(followed, listed);
    if (shown.facts.length) factList(this.rest, "Picked", shown.facts);
    for (const table of shown.tables) dataTable(this.rest, table);
  }

  /** @param {import("./tracepage.js").Followed} followed @param {import("./subjects.js").Listed} listed */
  showFollowed({ words, remedies }, { name }) {
    make("h2", "", this.rest).textContent = name;
    for (const sentence of words) make("p", "", this.rest).textContent = sentence;
    if (remedies) {
      make("h3", "", this.rest).textContent = "What would bring it back";
      const list = make("ul", "", this.rest);
      for (const remedy of remedies) make("li", "", list).textContent = remedy;
    }
  }
}

/** @param {HTMLElement} parent @param {string} title @param {[string, string][]} facts */
export function factList(parent, title, facts) {
  make("h2", "", parent).textContent = title;
  const list = make("dl", "", parent);
  for (const [name, value] of facts) {
    make("dt", "", list).textContent = name;
    make("dd", "", list).textContent = value;
  }
}

/** @param {HTMLElement} parent @param {Table} table */
export function dataTable(parent, { caption, head, rows }) {
  const table = make("table", "", make("div", "wide", parent));
  make("caption", "", table).textContent = caption;
  const top = make("tr", "", make("thead", "", table));
  for (const name of head) make("th", "", top, { scope: "col" }).textContent = name;
  const body = make("tbody", "", table);
  for (const [first, ...others] of rows) {
    const line = make("tr", "", body);
    make("th", "", line, { scope: "row" }).textContent = first;
    for (const value of others) make("td", "", line).textContent = value;
  }
}
