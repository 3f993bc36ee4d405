// @ts-check
// What stages 4 and 6 share: candidates, settings in the address, and filters that run again.

import { blockBytes } from "./blocks.js";
import { clipBoxes } from "./nms.js";
import { Stage } from "./stages.js";

/**
 * @typedef {import("./nms.js").Columns} Columns
 * @typedef {import("./nms.js").Settings} Settings
 * @typedef {import("./packs.js").Packed} Packed
 * @typedef {import("./stages.js").Control} Control
 *
 * @typedef {object} More
 * @property {{ block: string, arrays: Record<string, [number, number, "int32" | "float32"]> }} candidates
 * @property {Record<string, Packed>} patterns
 * @property {Packed} objects
 * @property {Record<string, string>} turned_away
 * @property {[number, number]} image_size height, width
 * @property {Settings} settings the model's own
 * @property {number} spread boxes up to which torchvision spreads groups apart
 * @property {Record<string, number>} draws limits of what is drawn
 *
 * @typedef {object} Table a row for each candidate
 * @property {Columns} refined
 * @property {Columns} boxes clipped
 * @property {Float32Array} score
 * @property {Int32Array} group
 * @property {Record<string, Int32Array>} whole the other whole numbers
 * @property {Columns} [origin]
 */

const TABLE_ARRAYS = { int32: Int32Array, float32: Float32Array };

export class CandidateStage extends Stage {
  /** @param {import("./stages.js").StageRecord & More} record */
  constructor(record) {
    super(record);
    this.more = record;
    /** @type {Promise<Table> | null} */
    this.reading = null;
    this.answer = { key: "", kept: /** @type {Record<string, Int32Array>} */ ({}) };
  }

  /** The candidates, unpacked once. */
  table() {
    this.reading ??= this.read();
    return this.reading;
  }

  /** @returns {Promise<Table>} */
  async read() {
    const { candidates, image_size } = this.more;
    const raw = await blockBytes(candidates.block);
    /** @type {Record<string, any>} */
    const arrays = {};
    for (const [name, [offset, count, kind]] of Object.entries(candidates.arrays)) {
      arrays[name] = new TABLE_ARRAYS[kind](raw, offset, count);
    }
    const { refined, origin, score, group, label, ...whole } = arrays;
    const columns = fourColumns(refined);
    return {
      refined: columns,
      boxes: clipBoxes(columns, image_size),
      origin: origin && fourColumns(origin),
      score,
      group: group ?? label,
      whole,
    };
  }

  /** The settings of an address; the model's own where it names none. @param {URLSearchParams} params @returns {Settings} */
  settings(params) {
    const own = this.more.settings;
    return /** @type {Settings} */ (Object.fromEntries(Object.entries(own).map(([name, value]) => {
      const text = params.get(name);
      const given = text === null || text.trim() === "" ? Number.NaN : Number(text);
      const { min, max } = this.range(name);
      return [name, Number.isFinite(given) ? Math.min(Math.max(given, min), max) : value];
    })));
  }

  /** Lowest and highest value of a setting. @param {string} name @returns {{ min: number, max: number }} */
  range(name) {
    const most = { limit: Math.max(2000, this.more.settings.limit), min_size: 256 };
    return { min: name === "limit" ? 1 : 0, max: most[/** @type {"limit"} */ (name)] ?? 1 };
  }

  /** @param {Settings} settings @param {Record<string, string>} labels @returns {Control[]} */
  controls(settings, labels) {
    return Object.entries(labels).map(([name, label]) => ({
      name,
      label,
      ...this.range(name),
      step: name === "limit" || name === "min_size" ? 1 : 0.01,
      value: settings[/** @type {keyof Settings} */ (name)],
      own: this.more.settings[/** @type {keyof Settings} */ (name)],
    }));
  }

  /**
   * The rows that each filter keeps, computed once for the same settings.
   * @param {Settings} settings @param {() => Record<string, Int32Array>} run
   */
  kept(settings, run) {
    const key = JSON.stringify(settings);
    if (key !== this.answer.key) this.answer = { key, kept: run() };
    return this.answer.kept;
  }

  /** The filter at which a row left; null if it stayed. @param {Record<string, Int32Array>} kept @param {number} row */
  leftAt(kept, row) {
    const names = Object.keys(kept);
    const last = names.findLastIndex((name) => kept[name].includes(row));
    return names[last + 1] ?? null;
  }
}

/** @param {Float32Array} values @returns {Columns} */
export function fourColumns(values) {
  const rows = values.length / 4;
  return /** @type {Columns} */ ([0, 1, 2, 3].map((i) => values.subarray(i * rows, (i + 1) * rows)));
}

/** Integers with their commas. @param {number} count */
export function withCommas(count) {
  return count.toLocaleString("en");
}
