// @ts-check
// The part of the photo that is on screen, and the way between photo and screen.

/**
 * From the photo to device pixels: X = x * s + t.x, on a canvas of t.w × t.h.
 * @typedef {{ s: number, x: number, y: number, w: number, h: number }} Transform
 * @typedef {[number, number]} Point
 */

/** @typedef {{ width: number, height: number }} Size */

const MAX_ZOOM = 64; // screen pixels for a pixel of the photo
const MAX_RATIO = 12; // of the stage's sides

/**
 * What the stage shows of the photo's plane when nothing is zoomed: the photo, and some ground beside
 * one that is a mere line.
 * @param {Size} photo
 * @returns {Size}
 */
export function frameOf({ width, height }) {
  return { width: Math.max(width, height / MAX_RATIO), height: Math.max(height, width / MAX_RATIO) };
}

export class View {
  /** @param {() => void} changed told that another part of the photo is in view */
  constructor(changed) {
    this.changed = changed;
    this.photo = { width: 1, height: 1 };
    this.frame = frameOf(this.photo);
    this.width = 0; // of the stage, CSS pixels
    this.height = 0;
    this.dpr = 1;
    this.cx = 0; // the photo's point in the middle
    this.cy = 0;
    this.k = 1; // 1 shows the whole photo
  }

  /** Of the stage, CSS pixels. @returns {Point} */
  get middle() {
    return [this.width / 2, this.height / 2];
  }

  /** Device pixels of the stage. @returns {Point} */
  get pixels() {
    return [Math.round(this.width * this.dpr), Math.round(this.height * this.dpr)];
  }

  /** The largest k. */
  get most() {
    return Math.max(4, (MAX_ZOOM * this.frame.width) / (this.width || this.frame.width));
  }

  /**
   * The stage has another size.
   * @param {number} width @param {number} height @param {number} dpr
   */
  resize(width, height, dpr) {
    this.width = width;
    this.height = height;
    this.dpr = dpr;
  }

  /**
   * Another photo is on the stage: shows the whole of it.
   * @param {Size} photo
   */
  open({ width, height }) {
    this.photo = { width, height };
    this.frame = frameOf(this.photo);
    this.cx = width / 2;
    this.cy = height / 2;
    this.k = 1;
  }

  /** @returns {Transform} */
  transform() {
    const [w, h] = this.pixels;
    const s = (w / this.frame.width) * this.k;
    return { s, w, h, x: w / 2 - this.cx * s, y: h / 2 - this.cy * s };
  }

  /**
   * The photo's point at a point of the stage.
   * @param {Point} point CSS pixels
   * @returns {Point}
   */
  toPhoto([x, y]) {
    const t = this.transform();
    return [(x * this.dpr - t.x) / t.s, (y * this.dpr - t.y) / t.s];
  }

  /**
   * Brings a point of the photo into the middle, as far as the photo still fills the stage.
   * @param {number} cx @param {number} cy @param {number} k
   */
  moveTo(cx, cy, k) {
    this.k = Math.min(Math.max(k, 1), this.most);
    this.cx = inside(cx, this.photo.width, this.frame.width / this.k);
    this.cy = inside(cy, this.photo.height, this.frame.height / this.k);
    this.changed();
  }

  /**
   * Zooms so that the photo's point under `at` stays there.
   * @param {Point} at CSS pixels of the stage
   * @param {number} factor
   */
  zoomAt(at, factor) {
    const [x, y] = this.toPhoto(at);
    const { cx, cy, k } = this;
    const next = Math.min(Math.max(k * factor, 1), this.most);
    this.moveTo(x + ((cx - x) * k) / next, y + ((cy - y) * k) / next, next);
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.zoomAt(this.middle, factor);
  }

  /**
   * Moves the photo along.
   * @param {number} dx CSS pixels
   * @param {number} dy
   */
  panBy(dx, dy) {
    const s = this.transform().s / this.dpr;
    this.moveTo(this.cx - dx / s, this.cy - dy / s, this.k);
  }

  reset() {
    this.moveTo(this.photo.width / 2, this.photo.height / 2, 1);
  }

  /**
   * Moves to a part of the photo.
   * @param {[number, number, number, number] | null} part x1, y1, x2, y2; null: all of it
   */
  show(part) {
    if (!part) return this.reset();
    const [x1, y1, x2, y2] = part;
    const { width, height } = this.frame;
    const k = Math.min(width / Math.max(x2 - x1, 1), height / Math.max(y2 - y1, 1));
    this.moveTo((x1 + x2) / 2, (y1 + y2) / 2, k);
  }
}

/**
 * The middle of what is seen, so that nothing is seen beyond 0 and `size`, as far as that can be.
 * @param {number} middle @param {number} size @param {number} seen how much is
 */
function inside(middle, size, seen) {
  return seen < size ? Math.min(Math.max(middle, seen / 2), size - seen / 2) : size / 2;
}

/**
 * A box in device pixels, cut a little outside of the canvas: dashes far off cost time.
 * @param {import("./layers.js").Numbers[]} box
 * @param {number} row
 * @param {Transform} t
 * @returns {[number, number, number, number]}
 */
export function deviceBox([x1, y1, x2, y2], row, t) {
  return [
    cut(x1[row] * t.s + t.x, t.w),
    cut(y1[row] * t.s + t.y, t.h),
    cut(x2[row] * t.s + t.x, t.w),
    cut(y2[row] * t.s + t.y, t.h),
  ];
}

/** @param {number} value @param {number} end */
function cut(value, end) {
  return Math.round(Math.min(Math.max(value, -40), end + 40));
}
