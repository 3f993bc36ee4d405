// @ts-check
// Stage 5: where RoIAlign reads the map for the picked proposal, and how its box moves.

import { fill } from "./packs.js";
import { Stage } from "./stages.js";

/**
 * @typedef {object} Pooling
 * @property {[number, number]} bins rows and columns
 * @property {Record<string, import("./packs.js").Packed>} patterns
 */

export class ClassificationStage extends Stage {
  /** @param {import("./stages.js").RowRecord | null} known */
  marks(known) {
    const { bins, patterns } = /** @type {Pooling} */ (/** @type {unknown} */ (this.record));
    const { refinement, "refined box": refined, "RoI bins": grid, "RoIAlign samples": samples } = patterns;
    const { box = [], refined: moved = [], bars = [] } = known ?? {};
    const rows = known ? 1 : 0;
    const look = { labels: bars.slice(0, 1).map(([name]) => `as ${name}`), colors: bars.slice(0, 1).map((bar) => bar[2]) };
    const points = known ? pointsRead(known) : new Float32Array();
    return [
      known ? fill(grid, bins[0] * bins[1], {}, binsOf(known, bins)) : fill(grid, 0, {}),
      fill(samples, points.length / 2, { points }),
      fill(refinement, rows, { start: box, end: moved }),
      fill(refined, rows, { boxes: moved }, look),
    ];
  }
}

/** What RoIAlign cuts out: at least a pixel of the map. @param {import("./stages.js").RowRecord} known */
function regionOf({ box = [], scale = 1 }) {
  const [x1, y1, x2, y2] = box;
  const pixel = 1 / scale;
  // `aligned=False` reads position p as the center of feature pixel p, which lies at p + ½.
  return { x: x1 + pixel / 2, y: y1 + pixel / 2, width: Math.max(x2 - x1, pixel), height: Math.max(y2 - y1, pixel) };
}

/**
 * The grid of bins.
 * @param {import("./stages.js").RowRecord} known @param {[number, number]} bins
 * @returns {Partial<import("./packs.js").About>}
 */
function binsOf(known, [rows, columns]) {
  const { x, y, width, height } = regionOf(known);
  return { stride: [width / columns, height / rows], shape: [rows, columns], origin: [x, y] };
}

/** The points that are read, row by row: all x, then all y. @param {import("./stages.js").RowRecord} known */
function pointsRead(known) {
  const [rows, columns] = known.samples ?? [0, 0];
  const { x, y, width, height } = regionOf(known);
  const points = new Float32Array(2 * rows * columns);
  for (let i = 0; i < rows * columns; i++) {
    points[i] = x + ((i % columns) + 0.5) * width / columns;
    points[rows * columns + i] = y + (Math.floor(i / columns) + 0.5) * height / rows;
  }
  return points;
}
