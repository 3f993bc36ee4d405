// @ts-check
// What lies above the scene: the row that is picked, the one that is hovered, the crosshair.

import { strokeAll } from "./dom.js";
import { colorOf } from "./layers.js";
import { maskPath } from "./masks.js";
import { same } from "./picking.js";
import { deviceBox } from "./view.js";

/**
 * @typedef {import("./picking.js").Pick} Pick
 * @typedef {import("./view.js").Transform} Transform
 * @typedef {import("./dom.js").Context} Context
 */

/**
 * @param {Context} ctx @param {Transform} t @param {number} dpr
 * @param {{ selected: Pick | null, hovered: Pick | null, crosshair: boolean }} marks
 */
export function paintOverlay(ctx, t, dpr, { selected, hovered, crosshair }) {
  ctx.clearRect(0, 0, t.w, t.h);
  if (selected) emphasize(ctx, t, dpr, selected, true);
  if (hovered && !same(hovered, selected)) emphasize(ctx, t, dpr, hovered, false);
  if (crosshair) paintCrosshair(ctx, t, dpr);
}

/**
 * @param {Context} ctx @param {Transform} t @param {number} dpr
 * @param {Pick} pick @param {boolean} picked else it is only hovered
 */
function emphasize(ctx, t, dpr, { layer, row }, picked) {
  const color = colorOf(layer, row);
  const path = outlineOf(layer, row, t, dpr);
  if (!picked) {
    ctx.fillStyle = color;
    ctx.globalAlpha = 0.14;
    ctx.fill(path);
    ctx.globalAlpha = 1;
  }
  /** @type {[string, number][]} */
  const strokes = picked
    ? [["rgba(0, 0, 0, .75)", 7], ["#fff", 5], [color, 2.5]]
    : [["rgba(0, 0, 0, .6)", 5], ["#fff", 3.5], [color, 2]];
  ctx.lineJoin = "round";
  strokeAll(ctx, path, dpr, strokes);
}

/**
 * @param {import("./layers.js").Layer} layer @param {number} row
 * @param {Transform} t @param {number} dpr
 */
function outlineOf(layer, row, t, dpr) {
  const path = new Path2D();
  const [x1, y1, x2, y2] = deviceBox(layer.box, row, t);
  const mask = layer.masks[row];
  if (mask?.isBool && mask.values.length) path.addPath(maskPath(layer, row, t));
  else if (layer.kind === "point") path.arc(x1, y1, ((layer.radius ?? 0) + 2) * dpr, 0, 2 * Math.PI);
  else path.rect(x1, y1, x2 - x1, y2 - y1);
  return path;
}

/** @param {Context} ctx @param {Transform} t @param {number} dpr */
function paintCrosshair(ctx, t, dpr) {
  const [x, y, arm] = [t.w / 2, t.h / 2, 9 * dpr];
  const path = new Path2D();
  path.moveTo(x - arm, y);
  path.lineTo(x + arm, y);
  path.moveTo(x, y - arm);
  path.lineTo(x, y + arm);
  strokeAll(ctx, path, dpr, [["rgba(0, 0, 0, .7)", 3], ["#fff", 1.25]]);
}
