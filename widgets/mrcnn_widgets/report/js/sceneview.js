// @ts-check
// The viewer of the notebook in a page: a photo with the layers of a stage.

import { PlainModel } from "../../viewer/js/model.js";
import { Viewer } from "../../viewer/js/viewer.js";
import { blockBytes } from "./blocks.js";

/**
 * @typedef {import("./packs.js").Ready} Ready
 * @typedef {{ width: number, height: number, step: number, window?: number[] }} Frame
 * @typedef {[string, number] | null} Pick layer and row
 */

const GRAY = "#808080"; // of a photo that was left out

/**
 * The photo as a frame shows it: as it came, or as the network sees it.
 * @param {ImageBitmap | null} photo
 * @param {Frame} frame
 */
export function pictureOf(photo, { width, height, step, window }) {
  const canvas = new OffscreenCanvas(Math.round(width / step), Math.round(height / step));
  const ctx = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [left, top, right, bottom] = window ?? [0, 0, canvas.width, canvas.height];
  ctx.fillStyle = "#000000";
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = GRAY;
  ctx.fillRect(left, top, right - left, bottom - top);
  if (photo) ctx.drawImage(photo, left, top, right - left, bottom - top);
  return canvas;
}

/**
 * The photo: an image of the page, or a block that holds the file of one.
 * @param {string | null} name
 * @returns {Promise<ImageBitmap | null>}
 */
export async function readPhoto(name) {
  if (!name) return null;
  const image = document.getElementById(name);
  if (!(image instanceof HTMLImageElement)) return createImageBitmap(new Blob([await blockBytes(name)]));
  await image.decode();
  return createImageBitmap(image);
}

export class SceneView {
  /**
   * @param {HTMLElement} element
   * @param {(pick: Pick) => void} picked the user picked a row, or let go
   */
  constructor(element, picked) {
    this.model = new PlainModel({ max_height: Math.max(320, Math.min(760, innerHeight - 190)) });
    this.viewer = new Viewer(element, this.model);
    this.quiet = false;
    /** @type {Set<string>} */
    this.known = new Set(); // layers that were shown before: what of them is hidden is the user's
    this.model.on("change:selected", () => {
      if (!this.quiet) picked(this.model.get("selected"));
    });
  }

  /**
   * @param {OffscreenCanvas} photo @param {Frame} frame @param {Ready[]} layers
   * @param {{ selected: Pick, title: string, view: number[] | null }} more
   */
  show(photo, frame, layers, { selected, title, view }) {
    this.quiet = true;
    const { model } = this;
    const fresh = layers.filter(({ about }) => !this.known.has(about.name));
    for (const { about } of fresh) this.known.add(about.name);
    model.state.hidden = [...model.get("hidden"), ...fresh.flatMap(({ hidden }) => hidden)];
    model.state.title = title;
    model.state.view = view;
    layers.forEach(({ buffer }, i) => model.set(`_layer_${i}`, buffer));
    model.set("_photo", photo);
    const { width, height, step } = frame;
    model.set("_scene", { width, height, step, layers: layers.map(({ about }) => about) });
    model.set("selected", selected);
    this.quiet = false;
  }

  /** Moves to a part of the photo. @param {number[] | null} view */
  look(view) {
    this.model.set("view", view);
  }

  destroy() {
    this.viewer.destroy();
  }
}
