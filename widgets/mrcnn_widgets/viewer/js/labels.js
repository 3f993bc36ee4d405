// @ts-check
// Tags beside the rows.

import { inkOn } from "./colors.js";
import { colorOf } from "./layers.js";
import { deviceBox } from "./view.js";

const MAX_LABELS = 250;

/**
 * Tags above the boxes, else inside or below them; one that would cover another wherever it stands
 * is left out until the user zooms in.
 * @param {import("./painters.js").Paper} paper
 * @param {import("./layers.js").Layer} layer
 * @param {[number, number, number, number][]} taken where tags are already
 */
export function paintLabels({ ctx, t, dpr }, layer, taken) {
  const size = 11 * dpr, height = 16 * dpr, pad = 4 * dpr;
  ctx.font = `600 ${size}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  const labels = layer.labels ?? [];
  for (let row = 0; row < labels.length && taken.length < MAX_LABELS; row++) {
    if (!layer.shown[row] || !labels[row]) continue;
    const [x1, y1, x2, y2] = deviceBox(layer.box, row, t);
    if (x2 < 0 || y2 < 0 || x1 > t.w || y1 > t.h) continue;
    const width = ctx.measureText(labels[row]).width + 2 * pad;
    const x = Math.max(0, Math.min(x1, t.w - width));
    const free = (/** @type {number} */ y) => y >= 0 && y + height <= t.h &&
      !taken.some(([a, b, c, d]) => x < c && x + width > a && y < d && y + height > b);
    const y = [y1 - height, Math.max(0, y1), y2].find(free);
    if (y === undefined) continue;
    taken.push([x, y, x + width, y + height]);
    const color = colorOf(layer, row);
    ctx.fillStyle = color;
    ctx.beginPath();
    ctx.roundRect(x, y, width, height, 3 * dpr);
    ctx.fill();
    ctx.fillStyle = inkOn(color);
    ctx.fillText(labels[row], x + pad, y + height / 2 + 0.5 * dpr);
  }
}
