// @ts-check
// Painters: generators that yield often, so that a frame can stop when its time is up.

import { inView } from "./filter.js";
import { paintLabels } from "./labels.js";
import { colorOf } from "./layers.js";
import { paintMasks } from "./masks.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {import("./view.js").Transform} Transform
 * @typedef {import("./dom.js").Context} Context
 *
 * What a painter draws on, and how the photo lies there.
 * @typedef {object} Paper
 * @property {Context} ctx
 * @property {Transform} t
 * @property {number} dpr device pixels for a CSS pixel
 * @property {import("./raster.js").BoxRaster} raster
 */

const DENSE = 600; // above this many rows in view, a group is shaded by density instead of stroked

const PAINTERS = {
  box: paintBoxes,
  mask: paintMasks,
  arrow: paintArrows,
  point: paintPoints,
  grid: paintGrid,
};

/**
 * Draws the photo and what lies on it, the first layer at the bottom, labels on top.
 * @param {Paper} paper
 * @param {import("./loader.js").Photo} photo
 * @param {Layer[]} layers
 */
export function* paintScene(paper, photo, layers) {
  paintPhoto(paper.ctx, photo, paper.t);
  yield;
  const shown = layers.filter((layer) => layer.on);
  for (const layer of shown) {
    yield* PAINTERS[layer.kind](paper, layer);
    yield;
  }
  /** @type {[number, number, number, number][]} */
  const taken = [];
  for (const layer of shown) paintLabels(paper, layer, taken);
}

/**
 * @param {Context} ctx
 * @param {import("./loader.js").Photo} photo
 * @param {Transform} t
 */
export function paintPhoto(ctx, { bitmap, step }, t) {
  const s = t.s * step; // device pixels for a pixel of the bitmap
  // Only what is in view: without a GPU the browser would scale the rest as well.
  const left = Math.max(0, Math.floor(-t.x / s)), top = Math.max(0, Math.floor(-t.y / s));
  const right = Math.min(bitmap.width, Math.ceil((t.w - t.x) / s));
  const bottom = Math.min(bitmap.height, Math.ceil((t.h - t.y) / s));
  const [w, h] = [right - left, bottom - top];
  const [x, y] = [left * s + t.x, top * s + t.y];
  // A photo that is a mere line: some ground is seen beside it, and at least a pixel of it.
  const [W, H] = [Math.max(1, w * s), Math.max(1, h * s)];
  if (x > 1 || y > 1 || x + W < t.w - 1 || y + H < t.h - 1) ctx.clearRect(0, 0, t.w, t.h);
  ctx.imageSmoothingEnabled = s < 4; // from there on people want to see the pixels
  ctx.drawImage(bitmap, left, top, w, h, x, y, W, H);
}

/** @param {Paper} paper @param {Layer} layer */
function* paintBoxes({ ctx, t, dpr, raster }, layer) {
  const lists = yield* inView(layer, t);
  for (let g = 0; g < lists.length; g++) {
    const { color, dash } = layer.groups[g];
    if (lists[g].length > DENSE) yield* raster.shade(layer, lists[g], color, t);
    else yield* raster.outline(layer, lists[g], dash, t, dpr);
  }
  raster.flush(ctx);
}

/** @param {Paper} paper @param {Layer} layer */
function* paintArrows(paper, layer) {
  const lists = yield* inView(layer, paper.t);
  for (const rows of lists) {
    for (let from = 0; from < rows.length; from += 500) {
      for (const row of rows.slice(from, from + 500)) paintArrow(paper, layer, row);
      yield;
    }
  }
}

/** @param {Paper} paper @param {Layer} layer @param {number} row */
function paintArrow({ ctx, t, dpr }, layer, row) {
  const a = layer.start.map((column, i) => column[row] * t.s + (i % 2 ? t.y : t.x));
  const b = layer.box.map((column, i) => column[row] * t.s + (i % 2 ? t.y : t.x));
  const color = colorOf(layer, row);
  ctx.strokeStyle = color;
  ctx.fillStyle = color;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = dpr;
  ctx.beginPath();
  for (const [i, j] of [[0, 1], [2, 1], [0, 3], [2, 3]]) {
    ctx.moveTo(a[i], a[j]);
    ctx.lineTo(b[i], b[j]);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
  const [tailX, tailY] = [(a[0] + a[2]) / 2, (a[1] + a[3]) / 2];
  const [tipX, tipY] = [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2];
  const length = Math.hypot(tipX - tailX, tipY - tailY);
  if (length < 2 * dpr) return;
  const head = Math.min(8 * dpr, length);
  const [ux, uy] = [(tipX - tailX) / length, (tipY - tailY) / length];
  ctx.lineWidth = layer.width * dpr;
  ctx.beginPath();
  ctx.moveTo(tailX, tailY);
  ctx.lineTo(tipX - ux * head * 0.8, tipY - uy * head * 0.8);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(tipX, tipY);
  ctx.lineTo(tipX - ux * head - uy * head * 0.45, tipY - uy * head + ux * head * 0.45);
  ctx.lineTo(tipX - ux * head + uy * head * 0.45, tipY - uy * head - ux * head * 0.45);
  ctx.fill();
}

/** @param {Paper} paper @param {Layer} layer */
function* paintPoints({ ctx, t, dpr }, layer) {
  const lists = yield* inView(layer, t);
  const many = layer.rows > 3000;
  const r = (layer.radius ?? 0) * dpr;
  ctx.strokeStyle = "rgba(0, 0, 0, .65)";
  ctx.lineWidth = dpr;
  for (const rows of lists) {
    for (let k = 0; k < rows.length; k++) {
      if ((k & 511) === 511) yield;
      const x = layer.box[0][rows[k]] * t.s + t.x, y = layer.box[1][rows[k]] * t.s + t.y;
      ctx.fillStyle = colorOf(layer, rows[k]);
      if (many) {
        ctx.fillRect(x - r / 2, y - r / 2, r, r);
        continue;
      }
      ctx.beginPath();
      ctx.arc(x, y, r, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    }
  }
}

/** @param {Paper} paper @param {Layer} layer */
function* paintGrid({ ctx, t, dpr }, layer) {
  const [rows, columns] = layer.shape ?? [0, 0];
  const [stepX, stepY] = (layer.stride ?? [1, 1]).map((step) => step * t.s);
  const [originX, originY] = layer.origin ?? [0, 0];
  const left = originX * t.s + t.x, top = originY * t.s + t.y;
  const right = left + columns * stepX, bottom = top + rows * stepY;
  const color = layer.groups[0].color;
  ctx.fillStyle = color;
  ctx.strokeStyle = color;
  for (let i = 0; i < layer.cells[0].length; i++) {
    const x = left + layer.cells[1][i] * stepX, y = top + layer.cells[0][i] * stepY;
    ctx.globalAlpha = 0.45;
    ctx.fillRect(x, y, stepX, stepY);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 2 * dpr;
    ctx.strokeRect(x, y, stepX, stepY);
  }
  // Lines closer than a few pixels would only gray the photo.
  ctx.globalAlpha = 0.55 * Math.min(1, Math.max(0, Math.min(stepX, stepY) / dpr - 2) / 10);
  if (ctx.globalAlpha > 0.01) {
    ctx.lineWidth = dpr;
    ctx.beginPath();
    for (const x of linesInView(left, stepX, columns, t.w)) {
      ctx.moveTo(x, Math.max(top, 0));
      ctx.lineTo(x, Math.min(bottom, t.h));
    }
    for (const y of linesInView(top, stepY, rows, t.h)) {
      ctx.moveTo(Math.max(left, 0), y);
      ctx.lineTo(Math.min(right, t.w), y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  yield;
}

/**
 * Where those of `count` + 1 equidistant lines are that lie between 0 and `end`.
 * @param {number} start @param {number} step @param {number} count @param {number} end
 */
function linesInView(start, step, count, end) {
  const first = Math.max(0, Math.floor(-start / step));
  const last = Math.min(count, Math.ceil((end - start) / step));
  const length = Math.max(0, last - first + 1);
  return Array.from({ length }, (_, i) => Math.round(start + (first + i) * step) + 0.5);
}
