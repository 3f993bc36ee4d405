// @ts-check
// When what is painted. The scene is drawn in the background, for the view at its start; the last
// finished one is on screen, moved as the view moves. So panning stays smooth however much there is
// to draw.

import { context, make } from "./dom.js";
import { paintPhoto, paintScene } from "./painters.js";
import { BoxRaster } from "./raster.js";

/**
 * @typedef {import("./view.js").Transform} Transform
 * @typedef {import("./dom.js").Context} Context
 *
 * A scene that was drawn: with what view, in which version.
 * @typedef {{ canvas: OffscreenCanvas, t: Transform | null, version: number }} Drawn
 */

const BUSY_MS = 4; // drawing time for a frame while the view moves, the rest of it is the browser's
const CALM_MS = 45;
const SETTLED_MS = 120;

export class Frames {
  /**
   * @param {HTMLElement} stage
   * @param {import("./view.js").View} view
   * @param {(ctx: Context, t: Transform) => void} paintOver draws what lies above the scene
   */
  constructor(stage, view, paintOver) {
    this.stage = stage;
    this.view = view;
    this.paintOver = paintOver;
    this.base = make("canvas", "mrv-base", stage, { "aria-hidden": "true" });
    this.overlay = make("canvas", "mrv-overlay", stage, { "aria-hidden": "true" });
    /** @type {import("./loader.js").Photo | null} */
    this.photo = null;
    /** @type {import("./layers.js").Layer[]} */
    this.layers = [];
    this.version = 0; // of what is drawn, besides the view
    this.raster = new BoxRaster(1, 1);
    /** @type {Drawn} */
    this.front = { canvas: new OffscreenCanvas(1, 1), t: null, version: -1 };
    /** @type {Drawn} */
    this.back = { canvas: new OffscreenCanvas(1, 1), t: null, version: -1 };
    /** @type {Generator<void, void> | null} */
    this.job = null; // draws the back
    this.request = 0;
    this.overRequest = 0;
    this.movedAt = -Infinity;
  }

  /** Whether the photo and the last change are on screen. */
  get finished() {
    return this.photo !== null && this.isCurrent(this.front, this.view.transform());
  }

  /**
   * There is something else to draw.
   * @param {import("./loader.js").Photo} photo
   * @param {import("./layers.js").Layer[]} layers
   */
  show(photo, layers) {
    this.photo = photo;
    this.layers = layers;
  }

  /** What there is to draw has changed. */
  change() {
    this.version++;
    this.draw();
  }

  /** Another part of it is in view. */
  move() {
    this.movedAt = performance.now();
    this.draw();
  }

  /** Takes over the size of the stage. */
  fit() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth || !clientHeight) return;
    this.view.resize(clientWidth, clientHeight, window.devicePixelRatio || 1);
    const [w, h] = this.view.pixels;
    if (this.base.width === w && this.base.height === h) return;
    for (const canvas of [this.base, this.overlay]) [canvas.width, canvas.height] = [w, h];
    // In the same frame: a resized canvas is blank.
    if (this.photo && !this.paint(this.photo, CALM_MS)) this.draw();
  }

  /** Draws in the next frame. */
  draw() {
    if (this.request || !this.photo) return;
    this.request = requestAnimationFrame(() => {
      this.request = 0;
      if (window.devicePixelRatio !== this.view.dpr) this.fit();
      if (!this.view.width || !this.photo) return;
      const moving = performance.now() - this.movedAt < SETTLED_MS;
      const done = this.paint(this.photo, moving ? BUSY_MS : CALM_MS);
      this.stage.setAttribute("aria-busy", String(!done));
      if (!done) this.draw();
    });
  }

  /** Draws what lies above the scene in the next frame. */
  drawOver() {
    if (this.request || this.overRequest || !this.photo) return;
    this.overRequest = requestAnimationFrame(() => {
      this.overRequest = 0;
      if (this.view.width) this.paintOver(context(this.overlay), this.view.transform());
    });
  }

  /**
   * Draws a frame; false if the scene on it is still that of an earlier view or state.
   * @param {import("./loader.js").Photo} photo
   * @param {number} budget milliseconds
   */
  paint(photo, budget) {
    const t = this.view.transform();
    const done = this.paintScene(photo, t, budget);
    const ctx = context(this.base, { alpha: false });
    const { canvas, t: then } = this.front;
    if (!then) {
      paintPhoto(ctx, photo, t);
    } else {
      const ratio = t.s / then.s;
      let x = t.x - then.x * ratio, y = t.y - then.y * ratio;
      if (ratio === 1) [x, y] = [Math.round(x), Math.round(y)]; // then pixels are merely copied
      const [w, h] = [then.w * ratio, then.h * ratio];
      if (x > 0 || y > 0 || x + w < t.w || y + h < t.h) paintAround(ctx, photo, t, x, y, w, h);
      ctx.imageSmoothingEnabled = ratio !== 1;
      ctx.drawImage(canvas, 0, 0, then.w, then.h, x, y, w, h);
    }
    this.paintOver(context(this.overlay), t);
    return done;
  }

  /**
   * Brings the picture of photo and layers up to date as far as `budget` (ms) allows.
   * @param {import("./loader.js").Photo} photo @param {Transform} t @param {number} budget
   */
  paintScene(photo, t, budget) {
    const until = performance.now() + budget;
    if (this.isCurrent(this.front, t)) return true;
    const resized = this.back.t?.w !== t.w || this.back.t.h !== t.h;
    let job = this.job;
    if (!job || this.back.version !== this.version || resized) job = this.startJob(photo, t);
    while (performance.now() < until) {
      if (!job.next().done) continue;
      [this.front, this.back] = [this.back, this.front];
      this.job = null;
      if (this.isCurrent(this.front, t)) return true;
      job = this.startJob(photo, t);
    }
    return false;
  }

  /** @param {Drawn} drawn @param {Transform} t */
  isCurrent({ t: a, version }, t) {
    const sameSize = a?.w === t.w && a.h === t.h;
    return version === this.version && sameSize && a.s === t.s && a.x === t.x && a.y === t.y;
  }

  /** @param {import("./loader.js").Photo} photo @param {Transform} t */
  startJob(photo, t) {
    const { canvas } = this.back;
    if (canvas.width !== t.w || canvas.height !== t.h) [canvas.width, canvas.height] = [t.w, t.h];
    if (this.raster.w !== t.w || this.raster.h !== t.h) this.raster = new BoxRaster(t.w, t.h);
    this.raster.begin();
    this.back.t = t;
    this.back.version = this.version;
    const paper = { ctx: context(canvas, { alpha: false }), t, dpr: this.view.dpr, raster: this.raster };
    this.job = paintScene(paper, photo, this.layers);
    return this.job;
  }

  /** Lets go of the pixels. */
  end() {
    cancelAnimationFrame(this.request);
    cancelAnimationFrame(this.overRequest);
    this.photo = null;
    this.layers = [];
    this.job = null;
    this.raster = new BoxRaster(1, 1);
    this.front = this.back;
  }
}

/**
 * Shows the bare photo where the finished scene does not reach yet.
 * @param {Context} ctx @param {import("./loader.js").Photo} photo @param {Transform} t
 * @param {number} x @param {number} y @param {number} w @param {number} h where the scene is
 */
function paintAround(ctx, photo, t, x, y, w, h) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, t.w, t.h);
  ctx.rect(Math.ceil(x), Math.ceil(y), Math.floor(w) - 1, Math.floor(h) - 1);
  ctx.clip("evenodd");
  paintPhoto(ctx, photo, t);
  ctx.restore();
}
