// @ts-check
// Outlines of boxes, a few or many thousands, drawn pixel by pixel.

import { context } from "./dom.js";
import { rgb } from "./colors.js";
import { colorOf } from "./layers.js";
import { deviceBox } from "./view.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {import("./layers.js").Dash} Dash
 * @typedef {import("./view.js").Transform} Transform
 * @typedef {import("./dom.js").Context} Context
 */

const CROWDED = 200; // above this many rows, their lines are thin and translucent
const DASHES = { solid: [1, 1], dashed: [7, 11], dotted: [2, 5] }; // drawn, and repeated after: CSS pixels

/**
 * Draws the outlines of boxes into a buffer of pixels: edges are rows and columns of it, so this is
 * far cheaper than a path, dashes above all.
 *
 * Few boxes become crisp lines. Many are shaded by how many outlines run through a pixel: only the
 * two ends of each edge are written, and one running sum over the canvas then fills all edges. That
 * costs eight writes a box and one pass a group, however long the edges are.
 */
export class BoxRaster {
  /** @param {number} w @param {number} h device pixels */
  constructor(w, h) {
    this.w = w;
    this.h = h;
    this.across = new Int32Array((w + 1) * h); // +1 where a horizontal edge starts, −1 behind it
    this.down = new Int32Array(w * (h + 1));
    this.counting = false; // counts are in progress
    this.image = new ImageData(w, h);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.canvas = new OffscreenCanvas(w, h);
    this.dirty = false;
  }

  /** Starts a scene; whatever an abandoned painter left behind goes. */
  begin() {
    if (this.counting) {
      this.across.fill(0);
      this.down.fill(0);
      this.counting = false;
    }
    if (this.dirty) this.pixels.fill(0);
    this.dirty = false;
  }

  /**
   * Draws the outlines of some rows.
   * @param {Layer} layer @param {number[]} rows @param {Dash} dash
   * @param {Transform} t @param {number} dpr
   */
  *outline(layer, rows, dash, t, dpr) {
    if (!rows.length) return;
    const crowded = rows.length > CROWDED;
    this.dirty = true;
    const width = Math.max(1, Math.round((crowded ? 1 : layer.width) * dpr));
    // A dark rim keeps thin lines readable on a light photo; a crowd lets the photo shine through.
    if (!crowded) yield* this.lines(layer, rows, dash, t, dpr, width, Math.ceil(dpr * 0.6), 112);
    yield* this.lines(layer, rows, dash, t, dpr, width, 0, crowded ? 170 : 255);
  }

  /**
   * @param {Layer} layer @param {number[]} rows @param {Dash} dash
   * @param {Transform} t @param {number} dpr
   * @param {number} width of the line, device pixels
   * @param {number} rim how much wider it is on each side: then it is a dark rim; 0: the line itself
   * @param {number} alpha 0…255
   */
  *lines(layer, rows, dash, t, dpr, width, rim, alpha) {
    const [on, period] = DASHES[dash].map((length) => Math.round(length * dpr));
    for (let k = 0; k < rows.length; k++) {
      if ((k & 63) === 63) yield;
      const [r, g, b] = rgb(colorOf(layer, rows[k]));
      const ink = (alpha << 24) | (rim ? 0 : (b << 16) | (g << 8) | r);
      const [x1, y1, x2, y2] = deviceBox(layer.box, rows[k], t);
      const thick = width + 2 * rim;
      const right = Math.max(x2, x1 + width), bottom = Math.max(y2, y1 + width);
      for (const y of [y1 - rim, bottom - width - rim]) {
        this.bar(x1 - rim, y, right + rim, y + thick, ink, on + 2 * rim, period, 0, rim);
      }
      for (const x of [x1 - rim, right - width - rim]) {
        this.bar(x, y1 - rim, x + thick, bottom + rim, ink, 0, period, on + 2 * rim, rim);
      }
    }
    yield;
  }

  /**
   * Fills a bar, dashed along x or y; a rim leaves alone what is drawn already.
   * @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2
   * @param {number} ink a pixel, 0xAABBGGRR
   * @param {number} onX how much of each period is drawn along x; 0: all
   * @param {number} period
   * @param {number} onY the same along y
   * @param {number} rim
   */
  bar(x1, y1, x2, y2, ink, onX, period, onY, rim) {
    const { pixels, w, h } = this;
    const left = Math.max(x1, 0), right = Math.min(x2, w);
    const bottom = Math.min(y2, h);
    for (let y = Math.max(y1, 0); y < bottom; y++) {
      if (onY && (y - y1) % period >= onY) continue;
      for (let x = left, p = y * w + left; x < right; x++, p++) {
        if (onX && (x - x1) % period >= onX) continue;
        if (!rim || pixels[p] === 0) pixels[p] = ink;
      }
    }
  }

  /**
   * Shades by how many outlines of some rows run through a pixel.
   * @param {Layer} layer @param {number[]} rows @param {string} color @param {Transform} t
   */
  *shade(layer, rows, color, t) {
    this.counting = this.dirty = true;
    const { across, down, w, h } = this;
    const [bx1, by1, bx2, by2] = layer.box;
    const stride = w + 1;
    const { s, x: ox, y: oy } = t;
    for (let k = 0; k < rows.length; k++) {
      if ((k & 4095) === 4095) yield;
      const i = rows[k];
      const fx1 = bx1[i] * s + ox, fy1 = by1[i] * s + oy;
      const fx2 = bx2[i] * s + ox - 1, fy2 = by2[i] * s + oy - 1;
      if (fx2 < -0.5 || fy2 < -0.5) continue; // ends before the canvas begins
      const x1 = fx1 < 0 ? 0 : (fx1 + 0.5) | 0;
      const y1 = fy1 < 0 ? 0 : (fy1 + 0.5) | 0;
      const x2 = fx2 >= w - 1 ? w - 1 : (fx2 + 0.5) | 0;
      const y2 = fy2 >= h - 1 ? h - 1 : (fy2 + 0.5) | 0;
      if (x1 >= w || y1 >= h || x2 < x1 || y2 < y1) continue;
      if (fy1 >= -0.5) {
        across[y1 * stride + x1]++;
        across[y1 * stride + x2 + 1]--;
      }
      if (fy2 <= h - 0.5) {
        across[y2 * stride + x1]++;
        across[y2 * stride + x2 + 1]--;
      }
      if (fx1 >= -0.5) {
        down[y1 * w + x1]++;
        down[(y2 + 1) * w + x1]--;
      }
      if (fx2 <= w - 0.5) {
        down[y1 * w + x2]++;
        down[(y2 + 1) * w + x2]--;
      }
    }
    yield;
    yield* this.fill(color, ...(yield* this.sum()));
    this.counting = false;
  }

  /**
   * Turns ends of edges into counts, in place; returns the mean of those above 0 and the most.
   * @returns {Generator<void, [number, number]>}
   */
  *sum() {
    const { across, down, w, h } = this;
    let total = 0, pixels = 0, most = 0;
    for (let y = 0; y < h; y++) {
      if ((y & 63) === 63) yield;
      const a = y * (w + 1), d = y * w;
      let run = 0;
      for (let x = 0; x < w; x++) {
        run += across[a + x];
        const column = down[d + x];
        if (column !== 0) down[d + w + x] += column;
        const count = run + column;
        across[a + x] = count;
        if (count > 0) {
          total += count;
          pixels++;
          if (count > most) most = count;
        }
      }
    }
    return [pixels ? total / pixels : 1, most];
  }

  /**
   * Lays a color over the pixels that have a count, and clears the counts.
   * @param {string} color @param {number} usual @param {number} most
   */
  *fill(color, usual, most) {
    const { across, down, pixels, w, h } = this;
    const opacity = new Uint8Array(most + 1);
    for (let count = 1; count <= most; count++) {
      opacity[count] = 255 * 0.65 * (1 - Math.exp(-count / Math.max(0.6, 1.1 * usual)));
    }
    const [r, g, b] = rgb(color);
    const ink = (b << 16) | (g << 8) | r;
    for (let y = 0; y < h; y++) {
      if ((y & 63) === 63) yield;
      const a = y * (w + 1), p = y * w;
      for (let x = 0; x < w; x++) {
        const count = across[a + x];
        if (count <= 0) continue;
        const alpha = opacity[count];
        const under = pixels[p + x];
        if (under === 0) {
          pixels[p + x] = (alpha << 24) | ink;
          continue;
        }
        // Over another group: the colors mix, the more opaque of both decides the opacity.
        const ur = under & 255, ug = (under >> 8) & 255, ub = (under >> 16) & 255;
        const above = Math.max(alpha, under >>> 24);
        pixels[p + x] = (above << 24) |
          ((ub + (((b - ub) * alpha) >> 8)) << 16) |
          ((ug + (((g - ug) * alpha) >> 8)) << 8) |
          (ur + (((r - ur) * alpha) >> 8));
      }
    }
    across.fill(0);
    down.fill(0);
  }

  /**
   * Lays what was drawn onto a canvas, and starts afresh.
   * @param {Context} ctx
   */
  flush(ctx) {
    if (!this.dirty) return;
    context(this.canvas).putImageData(this.image, 0, 0);
    ctx.drawImage(this.canvas, 0, 0);
    this.pixels.fill(0);
    this.dirty = false;
  }
}
