// @ts-check
// Layers as Python packed them, made ready for the viewer.

import { packedBlock } from "./blocks.js";

/**
 * @typedef {import("../../viewer/js/layers.js").About} About
 * @typedef {"uint8" | "int32" | "float32"} Kind
 * @typedef {Record<string, [Kind, ArrayLike<number>]>} Lists values by name
 *
 * A layer in a block of its own, or a small one whose arrays are lists.
 * @typedef {object} Packed
 * @property {Omit<About, "arrays"> & { arrays?: About["arrays"] }} about
 * @property {string[]} hidden keys of what starts hidden
 * @property {string} [block]
 * @property {Lists} [arrays]
 *
 * @typedef {{ about: About, hidden: string[], buffer: DataView<ArrayBuffer> | ArrayBuffer }} Ready
 */

const ARRAYS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

/** @type {WeakMap<Packed, Ready>} */
const readied = new WeakMap();

/**
 * A layer for the viewer; the same again for the same layer, which is then not unpacked twice.
 * @param {Packed} packed
 * @returns {Ready}
 */
export function ready(packed) {
  const known = readied.get(packed);
  if (known) return known;
  const made = packed.block
    ? { about: /** @type {About} */ (packed.about), hidden: packed.hidden, buffer: packedBlock(packed.block) }
    : fill(packed, packed.about.rows, { group: packed.arrays?.group[1] ?? [] });
  readied.set(packed, made);
  return made;
}

/**
 * A layer like another with other rows.
 * @param {Packed} pattern whose look is taken over
 * @param {number} rows
 * @param {Record<string, ArrayLike<number>>} values arrays by name, instead of the pattern's
 * @param {Partial<About>} more of the description
 * @returns {Ready}
 */
export function fill(pattern, rows, values, more = {}) {
  /** @type {About["arrays"]} */
  const places = {};
  const parts = Object.entries(pattern.arrays ?? {}).map(([name, [kind, list]]) => {
    const own = values[name] ?? (name === "group" && list.length !== rows ? new Uint8Array(rows) : list);
    return { name, kind, array: ARRAYS[kind].from(own) };
  });
  let size = 0;
  for (const { name, kind, array } of parts) {
    places[name] = [size, array.length, kind];
    size += Math.ceil(array.byteLength / 4) * 4;
  }
  const bytes = new Uint8Array(Math.max(size, 4)); // an empty one is one that did not come yet
  for (const { name, array } of parts) bytes.set(new Uint8Array(array.buffer), places[name][0]);
  const about = /** @type {About} */ ({ ...pattern.about, ...more, rows, arrays: places });
  return { about, hidden: pattern.hidden, buffer: bytes.buffer };
}

/**
 * Boxes of some rows, column by column as layers take them.
 * @param {Float32Array[]} columns x1, y1, x2, y2 of all rows
 * @param {ArrayLike<number>} rows
 */
export function boxesAt(columns, rows) {
  const boxes = new Float32Array(4 * rows.length);
  columns.forEach((column, i) => boxes.set(take(column, rows), i * rows.length));
  return boxes;
}

/**
 * Values of some rows.
 * @template {Float32Array | Int32Array} Numbers
 * @param {Numbers} values @param {ArrayLike<number>} rows
 * @returns {Numbers}
 */
export function take(values, rows) {
  const taken = /** @type {Numbers} */ (values.slice(0, rows.length));
  for (let i = 0; i < rows.length; i++) taken[i] = values[rows[i]];
  return taken;
}
