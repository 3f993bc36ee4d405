// @ts-check
// Masks: grids of values, each stretched over a box.

import { rgb } from "./colors.js";
import { context, strokeAll } from "./dom.js";
import { inView } from "./filter.js";
import { colorOf } from "./layers.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {import("./layers.js").Mask} Mask
 * @typedef {import("./view.js").Transform} Transform
 */

/**
 * @param {import("./painters.js").Paper} paper
 * @param {Layer} layer
 */
export function* paintMasks({ ctx, t, dpr }, layer) {
  const lists = yield* inView(layer, t);
  for (const row of lists.flat().sort((a, b) => a - b)) {
    const mask = layer.masks[row];
    if (!mask.values.length) continue;
    const color = colorOf(layer, row);
    const [X, Y, W, H] = maskPlace(layer, row, t);
    ctx.globalAlpha = layer.opacity ?? 1;
    ctx.imageSmoothingEnabled = W < mask.width;
    ctx.drawImage(tinted(mask, color), X, Y, W, H);
    ctx.globalAlpha = 1;
    if (mask.isBool && layer.outline) {
      const path = maskPath(layer, row, t);
      ctx.lineJoin = "round";
      strokeAll(ctx, path, dpr, [["rgba(0, 0, 0, .4)", layer.width + 1.2], [color, layer.width]]);
    }
    yield;
  }
}

/**
 * The values of a mask as opacity of a color.
 * @param {Mask} mask @param {string} color
 */
function tinted(mask, color) {
  if (mask.canvas && mask.tint === color) return mask.canvas;
  const [r, g, b] = rgb(color);
  const image = new ImageData(mask.width, mask.height);
  const pixels = new Uint32Array(image.data.buffer);
  const ink = (b << 16) | (g << 8) | r;
  for (let i = 0; i < pixels.length; i++) pixels[i] = (mask.values[i] << 24) | ink;
  mask.canvas = new OffscreenCanvas(mask.width, mask.height);
  context(mask.canvas).putImageData(image, 0, 0);
  mask.tint = color;
  return mask.canvas;
}

/**
 * Left, top, width and height of a mask's grid: its box, up to the last cell of a coarser grid.
 * @param {Layer} layer @param {number} row @param {Transform} t
 */
export function maskPlace(layer, row, t) {
  const [x1, y1, x2, y2] = layer.box.map((column) => column[row]);
  const { width, height } = layer.masks[row];
  const [w, h] = layer.step ? [width * layer.step, height * layer.step] : [x2 - x1, y2 - y1];
  return [x1 * t.s + t.x, y1 * t.s + t.y, w * t.s, h * t.s];
}

/**
 * The outline of a bool mask on the screen. It follows the pixels' edges, so it stays exact; around
 * a mask of dots it would take minutes: there it is the box.
 * @param {Layer} layer @param {number} row @param {Transform} t
 */
export function maskPath(layer, row, t) {
  const mask = layer.masks[row];
  const [x, y, w, h] = maskPlace(layer, row, t);
  mask.edges ??= pathOf(traceEdges(mask) ?? [[0, 0, mask.width, 0, mask.width, mask.height, 0, mask.height]]);
  const path = new Path2D();
  path.addPath(mask.edges, new DOMMatrix([w / mask.width, 0, 0, h / mask.height, x, y]));
  return path;
}

/** @param {number[][]} loops each x, y, x, y … */
function pathOf(loops) {
  const path = new Path2D();
  for (const loop of loops) {
    path.moveTo(loop[0], loop[1]);
    for (let i = 2; i < loop.length; i += 2) path.lineTo(loop[i], loop[i + 1]);
    path.closePath();
  }
  return path;
}

const MAX_CORNERS = 30_000; // of an outline: that of a real object of 2000 × 2000 pixels has some thousands

const STEP = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up
// The two pixels ahead of a walk along the edges: on its left and on its right.
const AHEAD = [
  [[0, -1], [0, 0]],
  [[0, 0], [-1, 0]],
  [[-1, 0], [-1, -1]],
  [[-1, -1], [0, -1]],
];

/**
 * Walks the boundary between set and unset pixels.
 * @param {Mask} mask
 * @returns {number[][] | null} the corners of each loop: x, y, x, y …; null: more than `MAX_CORNERS`
 */
export function traceEdges({ width, height, values }) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] > 0;
  const loops = [];
  let corners = 0;
  // Every loop has an edge that runs right with a set pixel below and an unset one above.
  const seen = new Uint8Array((width + 1) * (height + 1));
  for (let top = 0; top < height; top++) {
    for (let left = 0; left < width; left++) {
      if (!at(left, top) || at(left, top - 1) || seen[top * (width + 1) + left]) continue;
      let x = left, y = top, heading = 0;
      const loop = [x, y];
      do {
        if (heading === 0) seen[y * (width + 1) + x] = 1;
        x += STEP[heading][0];
        y += STEP[heading][1];
        const before = heading;
        heading = turn(at, x, y, heading);
        if (heading === before) continue;
        loop.push(x, y);
        if (++corners > MAX_CORNERS) return null;
      } while (x !== left || y !== top || heading !== 0);
      loop.length -= 2; // the walk ends where it began
      loops.push(loop);
    }
  }
  return loops;
}

/**
 * Where a walk with the set pixels on its right goes on at a corner.
 * @param {(x: number, y: number) => boolean} at
 * @param {number} x @param {number} y @param {number} heading
 */
function turn(at, x, y, heading) {
  const [left, right] = AHEAD[heading].map(([dx, dy]) => at(x + dx, y + dy));
  if (!right) return (heading + 1) % 4;
  return left ? (heading + 3) % 4 : heading;
}

/**
 * Whether a mask has a value above 0 at a point of the photo.
 * @param {Layer} layer @param {number} row @param {number} x @param {number} y
 */
export function inMask(layer, row, x, y) {
  const mask = layer.masks[row];
  const [left, top, w, h] = maskPlace(layer, row, { s: 1, x: 0, y: 0, w: 0, h: 0 });
  const column = Math.floor(((x - left) / w) * mask.width);
  const line = Math.floor(((y - top) / h) * mask.height);
  const inside = column >= 0 && line >= 0 && column < mask.width && line < mask.height;
  return inside && mask.values[line * mask.width + column] > 0;
}
