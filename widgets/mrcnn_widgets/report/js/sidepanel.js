// @ts-check
// What is said beside the viewer: settings, the picked row, what is followed, and the stage's tables.

import { make } from "../../viewer/js/dom.js";
import { copyLine } from "./copyline.js";

/**
 * @typedef {import("./stages.js").Shown} Shown
 * @typedef {import("./stages.js").Table} Table
 * @typedef {import("./stages.js").Control} Control
 */

export class SidePanel {
  /**
   * @param {HTMLElement} root
   * @param {Record<string, string[]>} ways lines to copy that lead back
   * @param {{ set: (name: string, value: string | null) => void }} acts
   */
  constructor(root, ways, acts) {
    this.ways = ways;
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
    this.showControls(shown.controls);
    this.rest.replaceChildren();
    if (shown.note) make("p", "note", this.rest).textContent = shown.note;
    if (followed && listed) this.showFollowed(followed, listed);
    if (shown.facts.length) factList(this.rest, "Picked", shown.facts);
    if (shown.bars.length) this.showBars(shown.bars);
    for (const table of shown.tables) dataTable(this.rest, table);
  }

  /** Sliders stay as long as they are the same, so that one can be dragged. @param {Control[]} controls */
  showControls(controls) {
    const names = controls.map(({ name }) => name).join(" ");
    if (names !== this.names) {
      this.names = names;
      this.controls.replaceChildren();
      this.inputs = controls.map((control) => this.addControl(control));
    }
    controls.forEach(({ value, own, checked, step = 1 }, i) => {
      const { input, output, button } = (this.inputs ?? [])[i];
      if (checked !== undefined) input.checked = checked;
      if (value === undefined) return;
      if (document.activeElement !== input || Number(input.value) !== value) input.value = String(value);
      output.textContent = step < 1 ? String(Math.round(value * 1000) / 1000) : value.toLocaleString("en");
      button.hidden = value === own;
    });
  }

  /** @param {Control} control */
  addControl({ name, label, min, max, step, own, checked }) {
    const line = make("div", "control", this.controls);
    const text = make("label", "", line);
    const range = { type: "range", min: String(min), max: String(max), step: String(step) };
    const input = make("input", "", text, checked === undefined ? range : { type: "checkbox" });
    const caption = make("span", "", null);
    caption.textContent = label;
    if (checked === undefined) text.prepend(caption);
    else text.append(caption);
    const output = make("output", "", line);
    const button = make("button", "", line, { type: "button", hidden: "", title: "back to the start" });
    button.textContent = "↺";
    button.setAttribute("aria-label", `${label}: back to the start`);
    button.addEventListener("click", () => this.acts.set(name, null));
    input.addEventListener("input", () => {
      if (checked === undefined) this.acts.set(name, Number(input.value) === own ? null : input.value);
      else this.acts.set(name, input.checked ? null : "1");
    });
    return { input, output, button };
  }

  /** The most probable classes. @param {import("./stages.js").Bar[]} bars */
  showBars(bars) {
    const list = make("ul", "bars", this.rest, { "aria-label": "Probabilities" });
    for (const [name, share, color] of bars) {
      const line = make("li", "", list);
      make("span", "", line).textContent = name;
      const bar = make("span", "bar", line);
      bar.style.width = `${Math.max(share * 100, 0.5)}px`;
      bar.style.background = color;
      make("span", "", line).textContent = share.toFixed(3);
    }
  }

  /** @param {import("./tracepage.js").Followed} followed @param {import("./subjects.js").Listed} listed */
  showFollowed({ words, remedies }, { name, subject: [kind, row] }) {
    make("h2", "", this.rest).textContent = name;
    for (const sentence of words) make("p", "", this.rest).textContent = sentence;
    if (remedies) {
      make("h3", "", this.rest).textContent = "What would bring it back";
      const list = make("ul", "", this.rest);
      for (const remedy of remedies) make("li", "", list).textContent = remedy;
    }
    for (const way of this.ways[kind] ?? []) copyLine(this.rest, way.replace("{row}", String(row)));
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
