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
  const canvas = new OffscreenCanvas(Math.max(Math.round(width / step), 1), Math.max(Math.round(height / step), 1));
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
  // One that is not on the page: the size of that one depends on the room there, and may be 0.
  const photo = new Image();
  photo.src = image.src;
  await photo.decode();
  return createImageBitmap(photo);
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
    this.scene = "";
    /** @type {Map<string, { known: Set<string>, hidden: string[] }>} */
    this.scenes = new Map(); // layers that were shown before: what of them is hidden is the user's
    this.model.on("change:selected", () => {
      if (!this.quiet) picked(this.model.get("selected"));
    });
  }

  /**
   * @param {OffscreenCanvas} photo @param {Frame} frame @param {Ready[]} layers
   * @param {object} more
   * @param {Pick} more.selected
   * @param {string} more.title tells scenes apart
   * @param {import("../../viewer/js/filter.js").Thresholds} [more.thresholds] that the scene starts with
   * @param {[number, number, number, number]} [more.view] what of the photo to look at first
   */
  show(photo, frame, layers, { selected, title, thresholds, view }) {
    this.quiet = true;
    const { model } = this;
    if (!this.scenes.has(title)) model.state.thresholds = { ...model.get("thresholds"), ...thresholds };
    model.state.hidden = this.hiddenIn(title, layers);
    model.state.title = title;
    if (view) model.state.view = view;
    layers.forEach(({ buffer }, i) => model.set(`_layer_${i}`, buffer));
    model.set("_photo", photo);
    const { width, height, step } = frame;
    model.set("_scene", { width, height, step, layers: layers.map(({ about }) => about) });
    model.set("selected", selected);
    this.quiet = false;
  }

  /** What is hidden in a scene: what the user hid there, and what starts so. @param {string} name @param {Ready[]} layers */
  hiddenIn(name, layers) {
    const left = this.scenes.get(this.scene);
    if (left) left.hidden = this.model.get("hidden");
    const here = this.scenes.get(name) ?? { known: new Set(), hidden: [] };
    const fresh = layers.filter(({ about }) => !here.known.has(about.name));
    for (const { about } of fresh) here.known.add(about.name);
    here.hidden = [...here.hidden, ...fresh.flatMap(({ hidden }) => hidden)];
    this.scenes.set(name, here);
    this.scene = name;
    return here.hidden;
  }

  destroy() {
    this.viewer.destroy();
  }
}
