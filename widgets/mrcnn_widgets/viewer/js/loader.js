// @ts-check
// From the model's bytes to a photo and layers. A page without a kernel may hold them ready to use:
// the photo as a canvas, a layer's arrays as an `ArrayBuffer`.

import { inflate, unpack } from "./layers.js";

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {DataView<ArrayBuffer> | OffscreenCanvas} PhotoSource
 * @typedef {{ source: PhotoSource, bitmap: ImageBitmap, step: number }} Photo
 * @typedef {{ width: number, height: number, step: number, layers: import("./layers.js").About[] }} Scene
 */

export class Loader {
  /**
   * @param {import("./model.js").Model} model
   * @param {import("./model.js").Subscriptions} subscriptions
   * @param {{ coming: (scene: Scene) => void, ready: (scene: Scene, photo: Photo, layers: Layer[]) => void }} tell
   */
  constructor(model, subscriptions, tell) {
    this.model = model;
    this.subscriptions = subscriptions;
    this.tell = tell;
    this.ended = false;
    /** @type {Promise<void> | null} */
    this.loading = null;
    this.stale = false; // something changed while loading
    /** @type {Photo | null} */
    this.photo = null;
    /** @type {WeakMap<DataView | ArrayBuffer, ArrayBuffer>} */
    this.inflated = new WeakMap(); // compressed buffer → its arrays
    /** @type {Map<string, { buffer: DataView | ArrayBuffer, text: string, layer: Layer }>} */
    this.unpacked = new Map(); // layer name → the layer last made of it
    subscriptions.watch(["_scene", "_photo"], () => this.load());
  }

  /** Takes over what the model holds. What is on screen stays until all of the new is ready. */
  load() {
    if (this.loading) {
      this.stale = true;
      return;
    }
    // One message changes several traits: read them all once, after the last of their events.
    this.loading = Promise.resolve()
      .then(() => this.fetch())
      .finally(() => {
        this.loading = null;
        if (this.stale && !this.ended) {
          this.stale = false;
          this.load();
        }
      });
  }

  async fetch() {
    this.stale = false;
    /** @type {Scene} */
    const scene = this.model.get("_scene");
    if (!scene?.width) return;
    const names = scene.layers.map((_, i) => `_layer_${i}`);
    this.subscriptions.watch(names, () => this.load());
    const buffers = names.map((name) => this.model.get(name));
    const source = this.model.get("_photo");
    this.tell.coming(scene);
    const [photo, ...layers] = await Promise.all([
      this.decodePhoto(source, scene.step),
      ...scene.layers.map((about, i) => this.decodeLayer(about, buffers[i])),
    ]);
    if (this.ended) {
      photo.bitmap.close();
      return;
    }
    const before = this.photo;
    this.photo = photo;
    const kept = new Set(scene.layers.map(({ name }) => name));
    for (const name of this.unpacked.keys()) if (!kept.has(name)) this.unpacked.delete(name);
    this.tell.ready(scene, photo, layers.filter((layer) => layer !== null));
    if (before !== photo) before?.bitmap.close();
  }

  /** @param {PhotoSource} source @param {number} step @returns {Promise<Photo>} */
  async decodePhoto(source, step) {
    if (this.photo?.source === source) return this.photo;
    const image = source instanceof OffscreenCanvas ? source : new Blob([source]);
    return { source, step, bitmap: await createImageBitmap(image) };
  }

  /**
   * @param {import("./layers.js").About} about
   * @param {DataView<ArrayBuffer> | ArrayBuffer | undefined} buffer compressed, or as it is
   * @returns {Promise<Layer | null>}
   */
  async decodeLayer(about, buffer) {
    if (!buffer?.byteLength) return null;
    const ready = buffer instanceof ArrayBuffer ? buffer : this.inflated.get(buffer);
    const raw = ready ?? (await inflate(/** @type {DataView<ArrayBuffer>} */ (buffer)));
    this.inflated.set(buffer, raw);
    const text = JSON.stringify(about);
    const known = this.unpacked.get(about.name);
    if (known && known.buffer === buffer && known.text === text) return known.layer;
    const layer = unpack(about, raw);
    this.unpacked.set(about.name, { buffer, text, layer });
    return layer;
  }

  end() {
    this.ended = true;
    this.photo?.bitmap.close();
    this.photo = null;
    this.unpacked.clear();
  }
}
