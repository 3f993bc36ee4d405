// @ts-check
// The chips below the photo: what is shown, how much of it, and sliders for thresholds.

import { make, swatch } from "./dom.js";
import { onlyThis, toggled } from "./filter.js";
import { REPORT_MS } from "./reports.js";
import { number } from "./text.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {{ key: string, layer: Layer, groups: number[], button: HTMLElement, count: HTMLElement }} Chip
 * @typedef {{ layer: Layer, low: number, input: HTMLInputElement, output: HTMLElement }} Slider
 */

export class Legend {
  /**
   * @param {HTMLElement} parent
   * @param {import("./reports.js").Reports} reports
   */
  constructor(parent, reports) {
    this.element = make("div", "mrv-legend", parent, { role: "group", "aria-label": "Legend" });
    this.reports = reports;
    /** @type {Chip[]} */
    this.chips = [];
    /** @type {Slider[]} */
    this.sliders = [];
    /** @type {Map<string, number>} */
    this.room = new Map(); // key of a chip → characters of its longest count so far
    this.reserved = { width: 0, height: 0 }; // the largest height so far, at this width
  }

  /** Makes chips and sliders for other layers. @param {Layer[]} layers */
  build(layers) {
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && this.element.contains(active) && active.dataset.key;
    this.element.replaceChildren();
    this.chips = [];
    this.sliders = [];
    for (const layer of layers) this.addLayer(layer);
    if (!focused) return;
    const again = this.element.querySelector(`[data-key="${CSS.escape(focused)}"]`);
    if (again instanceof HTMLElement) again.focus();
  }

  /** @param {Layer} layer */
  addLayer(layer) {
    const label = { role: "group", "aria-label": layer.name };
    const set = make("div", "mrv-set", this.element, label);
    const { groups } = layer;
    const totals = new Uint32Array(groups.length);
    for (const group of layer.groupOf) totals[group]++;
    if (groups.length === 1) {
      this.addChip(set, layer, layer.name, [0], layer.name);
    } else {
      this.addChip(set, layer, layer.name, [...groups.keys()], layer.name);
      // Dozens of classes without a row would bury the few that have some.
      const worth = (/** @type {number} */ i) => totals[i] > 0 || groups.length <= 8;
      groups.forEach(({ name, text }, i) => {
        if (worth(i)) this.addChip(set, layer, `${layer.name}/${name}`, [i], text);
      });
    }
    if (layer.threshold) this.addSlider(set, layer);
  }

  /**
   * @param {HTMLElement} parent @param {Layer} layer @param {string} key
   * @param {number[]} groups what it stands for @param {string} text
   */
  addChip(parent, layer, key, groups, text) {
    const button = make("button", "mrv-chip", parent, { type: "button" });
    button.dataset.key = key;
    if (groups.length === 1) {
      const { color, dash } = layer.groups[groups[0]];
      button.append(swatch(color, dash, layer.kind, layer.colors));
    } else {
      button.classList.add("mrv-all");
    }
    make("span", "", button).textContent = text;
    const count = make("span", "mrv-count", button);
    button.title = "Click: show or hide. Alt + click: only this.";
    button.addEventListener("click", ({ altKey }) => this.toggle(key, altKey));
    this.chips.push({ button, layer, key, groups, count });
  }

  /** @param {string} key @param {boolean} only */
  toggle(key, only) {
    const hidden = this.reports.model.get("hidden");
    const keys = this.chips.map((chip) => chip.key);
    this.reports.tell("hidden", only ? onlyThis(hidden, key, keys) : toggled(hidden, key));
  }

  /** @param {HTMLElement} parent @param {Layer} layer */
  addSlider(parent, layer) {
    const name = layer.threshold ?? "";
    let low = Infinity, high = -Infinity;
    for (const value of layer.fields.find((field) => field.name === name)?.values ?? []) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (!(low < high)) return;
    const label = make("label", "mrv-slider", parent);
    label.append(`${name} ≥`);
    const input = make("input", "", label, {
      type: "range",
      min: String(low),
      max: String(high),
      step: "any",
      "aria-label": `${layer.name}: least ${name}`,
    });
    input.dataset.key = `${layer.name}\u0000threshold`;
    const output = make("output", "", label);
    input.addEventListener("input", () => {
      const all = this.reports.model.get("thresholds");
      const bound = +input.value <= low ? null : +input.value;
      const [, most = null] = all[layer.name]?.[name] ?? [];
      const mine = { ...all[layer.name], [name]: [bound, most] };
      this.reports.tell("thresholds", { ...all, [layer.name]: mine }, REPORT_MS);
    });
    this.sliders.push({ input, output, layer, low });
  }

  /**
   * Says what is hidden and how many rows are left.
   * @param {Set<string>} hidden
   * @param {import("./filter.js").Thresholds} thresholds
   */
  update(hidden, thresholds) {
    for (const { input, output, layer, low } of this.sliders) {
      const bound = thresholds[layer.name]?.[layer.threshold ?? ""]?.[0] ?? low;
      if (+input.value !== bound) input.value = String(bound);
      output.textContent = bound === low ? "all" : number(bound);
    }
    for (const { button, layer, key, groups, count } of this.chips) {
      const total = groups.reduce((sum, group) => sum + layer.counts[group], 0);
      const text = layer.kind === "grid" ? (layer.shape ?? []).join(" × ") : total.toLocaleString("en");
      count.textContent = text;
      // Room for the longest count so far: the other chips stay where they are.
      const room = Math.max(text.length, this.room.get(key) ?? 0);
      this.room.set(key, room);
      count.style.minWidth = `${room}ch`;
      button.classList.toggle("mrv-none", total === 0);
      button.setAttribute("aria-pressed", String(!hidden.has(key) && !hidden.has(layer.name)));
    }
    this.reserve();
  }

  /** Keeps the largest height so far: what lies below must not move when chips come and go. */
  reserve() {
    const width = this.element.clientWidth;
    if (width !== this.reserved.width) this.reserved = { width, height: 0 };
    this.element.style.minHeight = "";
    this.reserved.height = Math.max(this.reserved.height, this.element.offsetHeight);
    this.element.style.minHeight = `${this.reserved.height}px`;
  }
}
