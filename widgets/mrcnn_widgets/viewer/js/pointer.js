// @ts-check
// Mouse, pen and fingers.

import { same } from "./picking.js";

/**
 * @typedef {import("./picking.js").Pick} Pick
 * @typedef {import("./view.js").Point} Point
 */

const TAP = 4; // CSS pixels that a click may move

export class Pointer {
  /**
   * @param {HTMLElement} stage
   * @param {import("./tools.js").Tools} tools
   * @param {import("./view.js").View} view
   * @param {import("./aim.js").Aim} aim
   * @param {{ drag: () => void, choose: (pick: Pick | null, place: Point) => void, scrolled: (y: number) => void }} acts
   */
  constructor(stage, tools, view, aim, acts) {
    this.stage = stage;
    this.tools = tools;
    this.view = view;
    this.aim = aim;
    this.acts = acts;
    /** @type {Map<number, Point>} */
    this.fingers = new Map(); // that are down, CSS pixels of the stage
    this.travelled = 0;
    this.probing = 0;
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    const { stage } = this;
    stage.addEventListener("wheel", (event) => this.onWheel(event), { signal, passive: false });
    stage.addEventListener("pointerdown", (event) => this.onDown(event), { signal });
    stage.addEventListener("pointermove", (event) => this.onMove(event), { signal });
    stage.addEventListener("pointerup", (event) => this.onUp(event), { signal });
    stage.addEventListener("pointercancel", (event) => this.onUp(event), { signal });
    stage.addEventListener("pointerleave", () => this.onLeave(), { signal });
    stage.addEventListener("blur", () => this.aim.dropCrosshair(), { signal });
    const onDouble = (/** @type {Event} */ event) => this.tools.own(event) || this.view.reset();
    stage.addEventListener("dblclick", onDouble, { signal });
  }

  /** @param {MouseEvent} event @returns {Point} */
  place(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    // Nothing to zoom out of: let the page scroll.
    if (event.deltaY > 0 && this.view.k <= 1) return;
    // Who scrolls through the notebook comes past many photos: only one that was clicked holds on.
    if (!event.ctrlKey && !event.metaKey && !this.stage.matches(":focus")) {
      this.acts.scrolled(this.place(event)[1]);
      return;
    }
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
    const factor = Math.exp(-Math.max(-240, Math.min(pixels, 240)) / 400);
    this.view.zoomAt(this.place(event), factor);
    this.probeSoon();
  }

  /** @param {PointerEvent} event */
  onDown(event) {
    if (this.tools.own(event) || event.button > 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.place(event));
    this.travelled = this.fingers.size > 1 ? Infinity : 0;
    this.aim.dropCrosshair();
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    const now = this.place(event);
    const before = this.fingers.get(event.pointerId);
    this.aim.pointer = this.tools.own(event) ? null : now;
    if (!before) {
      this.aim.dropCrosshair();
      this.probeSoon();
      return;
    }
    if (this.fingers.size === 2) {
      this.pinch(event.pointerId, before, now);
    } else {
      this.travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (this.travelled > TAP) {
        this.stage.classList.add("mrv-drag");
        this.acts.drag();
        this.view.panBy(now[0] - before[0], now[1] - before[1]);
      }
    }
    if (this.fingers.size === 2 || this.travelled > TAP) this.fingers.set(event.pointerId, now);
  }

  /** @param {number} id @param {Point} before @param {Point} now */
  pinch(id, before, now) {
    const [, other] = [...this.fingers].find(([key]) => key !== id) ?? [0, now];
    const apart = (/** @type {Point} */ [x, y]) =>
      Math.max(1, Math.hypot(x - other[0], y - other[1]));
    /** @param {Point} point @returns {Point} */
    const middle = ([x, y]) => [(x + other[0]) / 2, (y + other[1]) / 2];
    const [a, b] = [middle(before), middle(now)];
    this.view.zoomAt(a, apart(now) / apart(before));
    this.view.panBy(b[0] - a[0], b[1] - a[1]);
  }

  /** @param {PointerEvent} event */
  onUp(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    this.stage.classList.remove("mrv-drag");
    if (this.fingers.size) return;
    const place = this.place(event);
    this.aim.pointer = event.pointerType === "mouse" ? place : null;
    if (this.travelled > TAP || event.type !== "pointerup") {
      this.probeSoon();
      return;
    }
    const under = this.aim.at(place);
    // Tab may have led to another candidate than the first: that one is meant.
    const meant = under.find((candidate) => same(candidate, this.aim.candidate)) ?? under[0];
    this.acts.choose(meant ?? null, place);
  }

  onLeave() {
    if (this.fingers.size) return;
    this.aim.pointer = null;
    if (!this.aim.crosshair) this.aim.letGo();
  }

  /** One look-up a frame is enough. */
  probeSoon() {
    if (this.probing) return;
    this.probing = requestAnimationFrame(() => {
      this.probing = 0;
      if (!this.fingers.size) this.aim.probe();
    });
  }

  end() {
    cancelAnimationFrame(this.probing);
  }
}
