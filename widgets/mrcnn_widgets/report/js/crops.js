// @ts-check
// Crops of photos: each photo is stored once, and unpacked when a crop of it comes into view.

import { context } from "../../viewer/js/dom.js";

const MARGIN = 0.3; // around a box, in shares of its longer side
const LEAST = 48; // pixels of the photo that a crop shows at least
const KEPT = 24; // unpacked photos that are kept

/** @typedef {import("./cases.js").Corners} Corners */

/**
 * The square of a photo to look at: a box with a margin, moved inside where the photo is as large.
 * @param {Corners} box @param {{ width: number, height: number }} photo
 * @returns {{ x: number, y: number, side: number }}
 */
export function cropAround([x1, y1, x2, y2], { width, height }) {
  const longer = Math.max(x2 - x1, y2 - y1);
  const side = Math.min(Math.max(longer * (1 + 2 * MARGIN), LEAST), Math.max(width, height));
  return { x: within((x1 + x2) / 2, side, width), y: within((y1 + y2) / 2, side, height), side };
}

/** @param {number} middle @param {number} side @param {number} length */
function within(middle, side, length) {
  if (side >= length) return (length - side) / 2;
  return Math.min(Math.max(middle - side / 2, 0), length - side);
}

/**
 * Draws what is around a box, and the box.
 * @param {HTMLCanvasElement} canvas square
 * @param {ImageBitmap} bitmap the photo, in any size
 * @param {import("./cases.js").Case} one
 * @param {string} color of the box
 */
export function drawCrop(canvas, bitmap, { box, photo }, color) {
  const { x, y, side } = cropAround(box, photo);
  const [across, down, size] = [bitmap.width / photo.width, bitmap.height / photo.height, canvas.width];
  const ctx = context(canvas);
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(bitmap, x * across, y * down, side * across, side * down, 0, 0, size, size);
  const [left, top, right, bottom] = box.map((value, i) => ((value - (i % 2 ? y : x)) / side) * size);
  for (const [style, wide] of /** @type {[string, number][]} */ ([["rgba(0, 0, 0, .6)", 6], [color, 3]])) {
    ctx.strokeStyle = style;
    ctx.lineWidth = wide;
    ctx.strokeRect(left, top, right - left, bottom - top);
  }
}

/** Unpacked photos, the last used ones kept. */
export class Photos {
  /** @param {(id: number) => Promise<Blob>} read gives a stored photo */
  constructor(read) {
    this.read = read;
    /** @type {Map<number, Promise<ImageBitmap>>} */
    this.bitmaps = new Map();
  }

  /** @param {number} id @returns {Promise<ImageBitmap>} */
  bitmap(id) {
    const bitmap = this.bitmaps.get(id) ?? this.read(id).then((blob) => createImageBitmap(blob));
    this.bitmaps.delete(id); // and to the end: the first is the one not used for longest
    this.bitmaps.set(id, bitmap);
    if (this.bitmaps.size > KEPT) this.bitmaps.delete(/** @type {number} */ (this.bitmaps.keys().next().value));
    return bitmap;
  }
}
