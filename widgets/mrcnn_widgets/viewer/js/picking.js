// @ts-check
// What lies under a point.

import { inMask } from "./masks.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {{ layer: Layer, row: number }} Pick
 * @typedef {Pick & { area: number, away: number }} Candidate
 */

/**
 * Everything under a point of the photo: the smallest first, of equals the most central.
 * @param {Layer[]} layers
 * @param {import("./view.js").Point} point
 * @param {number} pixel how much of the photo a CSS pixel is
 * @returns {Candidate[]}
 */
export function candidatesAt(layers, [x, y], pixel) {
  /** @type {Candidate[]} */
  const found = [];
  for (const layer of layers) {
    if (layer.on && layer.pickable) addHits(layer, x, y, reach(layer) * pixel, found);
  }
  return found.sort((a, b) => a.area - b.area || a.away - b.away);
}

/**
 * How far beside a row still counts as a hit, CSS pixels.
 * @param {Layer} layer
 */
function reach(layer) {
  if (layer.kind === "mask") return 0;
  return layer.kind === "point" ? (layer.radius ?? 0) + 2 : 4;
}

/**
 * @param {Layer} layer @param {number} x @param {number} y
 * @param {number} slack in pixels of the photo
 * @param {Candidate[]} found
 */
function addHits(layer, x, y, slack, found) {
  const [x1, y1, x2, y2] = layer.box;
  for (let i = 0; i < layer.rows; i++) {
    if (x < x1[i] - slack || x > x2[i] + slack || y < y1[i] - slack || y > y2[i] + slack) continue;
    if (!layer.shown[i] || (layer.kind === "mask" && !inMask(layer, i, x, y))) continue;
    const area = (x2[i] - x1[i]) * (y2[i] - y1[i]);
    const away = Math.hypot((x1[i] + x2[i]) / 2 - x, (y1[i] + y2[i]) / 2 - y);
    found.push({ layer, row: i, area, away });
  }
}

/**
 * The row that a trait names, if there is one.
 * @param {Layer[]} layers
 * @param {[string, number] | null} pick
 * @returns {Pick | null}
 */
export function lookUp(layers, pick) {
  const layer = pick && layers.find(({ name }) => name === pick[0]);
  return layer?.box.length && pick && pick[1] < layer.rows ? { layer, row: pick[1] } : null;
}

/** @param {Pick | null | undefined} a @param {Pick | null | undefined} b */
export function same(a, b) {
  return a === b || (!!a && !!b && a.layer.name === b.layer.name && a.row === b.row);
}
