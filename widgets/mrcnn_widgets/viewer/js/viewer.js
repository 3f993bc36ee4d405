// @ts-check
// The viewer: its parts, and what each has to hear of the others.

import { Aim } from "./aim.js";
import { Card } from "./card.js";
import { make } from "./dom.js";
import { filter } from "./filter.js";
import { Frames } from "./frames.js";
import { Hint } from "./hint.js";
import { HELP, listenToKeys } from "./keyboard.js";
import { Legend } from "./legend.js";
import { keepKeysOfLists } from "./lists.js";
import { Loader } from "./loader.js";
import { Subscriptions } from "./model.js";
import { paintOverlay } from "./overlay.js";
import { lookUp } from "./picking.js";
import { Pointer } from "./pointer.js";
import { REPORT_MS, Reports } from "./reports.js";
import { Status } from "./status.js";
import { describe } from "./text.js";
import { Tools } from "./tools.js";
import { View, frameOf } from "./view.js";

/**
 * @typedef {import("./picking.js").Pick} Pick
 * @typedef {import("./loader.js").Scene} Scene
 */

export class Viewer {
  /** @param {HTMLElement} element @param {import("./model.js").Model} model */
  constructor(element, model) {
    this.model = model;
    // The attribute keeps JupyterLab's shortcuts away: its key listener runs before ours.
    this.root = make("div", "mrv", element, { "data-lm-suppress-shortcuts": "true" });
    this.heading = make("div", "mrv-title", this.root);
    const help = `mrv-${Math.random().toString(36).slice(2)}`;
    this.stage = make("div", "mrv-stage", this.root, {
      tabindex: "0",
      role: "application",
      "aria-roledescription": "photo viewer",
      "aria-busy": "true",
      "aria-describedby": help,
    });
    this.view = new View(() => {
      this.tools.show(this.view.k);
      this.frames.move();
    });
    this.frames = new Frames(this.stage, this.view, (ctx, t) =>
      paintOverlay(ctx, t, this.view.dpr, this.marks()));
    this.aim = new Aim(this.view, {
      hovered: () => this.hover(),
      moved: () => this.placeCard(),
      keyed: () => this.onPick(),
    });
    this.tools = new Tools(this.stage, {
      zoomBy: (factor) => {
        this.view.zoomBy(factor);
        if (this.aim.crosshair) this.aim.probe();
      },
      reset: () => this.view.reset(),
    });
    this.card = new Card(this.stage);
    this.hint = new Hint(this.stage);
    this.reports = new Reports(model);
    this.legend = new Legend(this.root, this.reports);
    this.status = new Status(this.root);
    make("div", "mrv-help", this.root, { id: help }).textContent = HELP;
    this.subscriptions = new Subscriptions(model);
    this.loader = new Loader(model, this.subscriptions, {
      coming: (scene) => this.reserve(scene),
      ready: (...all) => this.adopt(...all),
    });
    this.gone = new AbortController();
    this.pointer = new Pointer(this.stage, this.tools, this.view, this.aim, {
      drag: () => this.card.hide(),
      choose: (pick, place) => this.choose(pick, place),
      scrolled: (y) => this.hint.show(y),
    });
    this.listen();
    this.loader.load();
  }

  listen() {
    const { signal } = this.gone;
    this.pointer.listen(signal);
    keepKeysOfLists(document, signal);
    const picked = () => this.model.get("selected") !== null;
    listenToKeys(this.stage, signal, this.view, this.aim, (pick, place) => this.choose(pick, place), picked);
    this.subscriptions.watch(["hidden", "thresholds"], () => this.refilter());
    this.subscriptions.watch(["selected", "hovered"], () => this.onPick());
    this.subscriptions.watch(["title"], () => this.showTitle());
    this.subscriptions.watch(["max_height"], () => this.reserve(this.model.get("_scene")));
    this.subscriptions.watch(["view"], () => this.view.show(this.model.get("view")));
    this.stage.addEventListener("focus", () => this.hover(), { signal });
    this.resizing = new ResizeObserver(() => {
      this.frames.fit();
      this.tools.keepOff(this.view);
    });
    this.resizing.observe(this.stage);
  }

  destroy() {
    this.gone.abort();
    this.resizing?.disconnect();
    const { subscriptions, loader, frames, pointer, reports, status, hint } = this;
    for (const part of [subscriptions, loader, frames, pointer, reports, status, hint]) part.end();
    this.root.remove();
  }

  /**
   * A scene is complete: shows it. Where the user zoomed to stays, if the photo's size does.
   * @param {Scene} scene
   * @param {import("./loader.js").Photo} photo
   * @param {import("./layers.js").Layer[]} layers
   */
  adopt(scene, photo, layers) {
    const { width, height } = this.view.photo;
    const sameSize = this.frames.photo && width === scene.width && height === scene.height;
    this.frames.show(photo, layers);
    this.aim.replace(layers);
    if (!sameSize) this.view.open(scene);
    this.showTitle();
    this.frames.fit();
    if (!sameSize && this.model.get("view")) this.view.show(this.model.get("view"));
    this.legend.build(layers);
    this.refilter();
  }

  refilter() {
    const hidden = new Set(this.model.get("hidden"));
    const thresholds = this.model.get("thresholds");
    for (const layer of this.frames.layers) filter(layer, hidden, thresholds);
    this.legend.update(hidden, thresholds);
    if (this.aim.place) this.aim.probe();
    this.onPick();
    this.frames.change();
  }

  showTitle() {
    const title = this.model.get("title") ?? "";
    const { width, height } = this.view.photo;
    this.heading.textContent = title;
    this.stage.setAttribute("aria-label", `${title || "Photo"}, ${width} by ${height} pixels`);
  }

  /**
   * Reserves the photo's place, so that the notebook does not jump when it arrives.
   * @param {Scene} scene
   */
  reserve(scene) {
    const { width, height } = frameOf(scene);
    const most = this.model.get("max_height") ?? 560;
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.width = `min(100%, ${((most * width) / height).toFixed(2)}px)`;
  }

  /** What is emphasized. */
  marks() {
    const shown = (/** @type {string} */ name) => {
      const pick = lookUp(this.frames.layers, this.model.get(name));
      return pick?.layer.on && pick.layer.shown[pick.row] ? pick : null;
    };
    const hovered = this.aim.candidate ?? shown("hovered");
    return { selected: shown("selected"), hovered, crosshair: this.aim.crosshair };
  }

  /** Another row is pointed at, or none. */
  hover() {
    const { candidate, candidates, index } = this.aim;
    const count = candidates.length.toLocaleString("en");
    // Tab reaches the viewer once it was clicked.
    const next = this.stage.matches(":focus") ? " · Tab for the next" : "";
    const foot = candidates.length > 1 ? `${index + 1} of ${count} here${next}` : "";
    if (candidate) this.card.show(candidate, foot);
    else this.card.hide();
    this.placeCard();
    this.reports.tellPick("hovered", candidate, REPORT_MS);
    this.frames.drawOver();
  }

  placeCard() {
    this.card.place(this.aim.place ?? this.view.middle, this.view);
  }

  /**
   * The user picked a row or let go.
   * @param {Pick | null} pick
   * @param {import("./view.js").Point | null} place where the click was, CSS pixels of the stage
   */
  choose(pick, place) {
    if (place) this.model.set("clicked", this.view.toPhoto(place));
    this.reports.tellPick("selected", pick);
  }

  /** Says what is picked, or what a user of the keyboard points at. */
  onPick() {
    const selected = lookUp(this.frames.layers, this.model.get("selected"));
    const hovered = this.aim.crosshair ? this.aim.candidate : null;
    if (hovered) this.status.say(`Under the crosshair: ${describe(hovered)}`);
    else this.status.say(selected ? `Selected: ${describe(selected)}` : "");
    this.frames.drawOver();
  }
}
