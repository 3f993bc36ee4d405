// @ts-check
// The page of a traced photo: stages and steps, the viewer, and what is said beside it.

import { make } from "../../viewer/js/dom.js";
import { blockJson } from "./blocks.js";
import { ready } from "./packs.js";
import { SidePanel } from "./sidepanel.js";
import { goTo, wholeIn, writeRoute } from "./route.js";
import { SceneView, pictureOf, readPhoto } from "./sceneview.js";
import { stageOf } from "./stagekinds.js";
import { Subjects } from "./subjects.js";

/**
 * @typedef {import("./stages.js").StageRecord} StageRecord
 * @typedef {import("./subjects.js").Listed} Listed
 *
 * @typedef {object} CaseRecord
 * @property {number} id
 * @property {string} name
 * @property {string | null} photo
 * @property {Record<"network" | "photo", import("./sceneview.js").Frame>} frames
 * @property {Listed[]} subjects
 * @property {string} followed
 * @property {StageRecord[]} stages
 *
 * @typedef {object} Followed
 * @property {string[]} words
 * @property {string[] | null} remedies
 * @property {Record<string, number | null>} rows
 * @property {Record<string, import("./packs.js").Packed[]>} layers
 */

export class TracePage {
  /**
   * @param {HTMLElement} root @param {CaseRecord} record
   * @param {Record<string, string[]>} ways lines to copy that lead back, for each kind of subject
   */
  constructor(root, record, ways = {}) {
    this.record = record;
    this.stages = record.stages.map(stageOf);
    this.params = new URLSearchParams();
    this.turn = 0; // which view is asked for: an earlier one may be ready later
    const head = make("header", "", root);
    const up = make("a", "up", head, { href: "#/" });
    up.textContent = "← summary";
    make("h1", "", head).textContent = record.name;
    this.tabs = make("nav", "tabs", root, { "aria-label": "Stages" });
    this.sentence = make("p", "sentence", root);
    this.steps = make("nav", "steps", root, { "aria-label": "Steps" });
    const columns = make("div", "columns", root);
    const left = make("div", "stage", columns);
    this.panel = new SidePanel(make("div", "side", columns), ways, {
      set: (name, value) => goTo(this.address({ [name]: value }), true),
    });
    this.subjects = new Subjects(make("section", "subjects", root), record.subjects, {
      address: (changes) => this.address(changes),
      search: (query) => goTo(this.address({ q: query }), true),
    });
    this.view = new SceneView(left, (pick) => this.pick(pick));
    this.photo = readPhoto(record.photo);
    /** @type {Map<string, OffscreenCanvas>} */
    this.pictures = new Map();
  }

  /** An address like this one with some changes. @param {Record<string, string | number | null>} changes */
  address(changes) {
    return writeRoute("case", this.record.id, { ...Object.fromEntries(this.params), ...changes });
  }

  /** The address of another stage or step: picked rows and settings are those of one. @param {number} stage @param {number | null} step */
  elsewhere(stage, step) {
    const { object, detection, q } = Object.fromEntries(this.params);
    return writeRoute("case", this.record.id, { stage, step, object, detection, q });
  }

  /** @param {URLSearchParams} params */
  async show(params) {
    const turn = ++this.turn;
    this.params = params;
    this.number = Math.min(wholeIn(params, "stage", 1) ?? 1, this.stages.length);
    const stage = this.stages[this.number - 1];
    const { key, frame, first = 0, steps } = stage.record;
    const step = Math.min((wholeIn(params, "step", 1) ?? first + 1) - 1, Math.max(steps.length - 1, 0));
    this.step = step;
    const subject = subjectIn(params);
    /** @type {Followed | null} */
    const followed = subject && ((await blockJson(this.record.followed))[subject] ?? null);
    const row = wholeIn(params, "row") ?? followed?.rows[key] ?? null;
    const [shown, picture] = await Promise.all([
      stage.show({ step, row, params, subject }),
      this.picture(frame),
    ]);
    if (turn !== this.turn) return;
    this.shown = shown;
    this.showWay(stage.record, step);
    this.subjects.show(subject, params.get("q") ?? "");
    this.panel.show(shown, followed, this.listed(subject));
    const layers = [...shown.layers, ...(followed?.layers[key] ?? []).map(ready)];
    this.view.show(picture, this.record.frames[frame], layers, {
      selected: shown.selected === null ? null : [shown.main, shown.selected],
      title: stage.record.title,
      thresholds: stage.record.thresholds,
    });
  }

  /** @param {string | null} subject */
  listed(subject) {
    return this.record.subjects.find((each) => each.subject.join("-") === subject) ?? null;
  }

  /** @param {"network" | "photo"} frame */
  async picture(frame) {
    const known = this.pictures.get(frame);
    if (known) return known;
    const made = pictureOf(await this.photo, this.record.frames[frame]);
    this.pictures.set(frame, made);
    return made;
  }

  /** @param {StageRecord} record @param {number} step */
  showWay({ sentence, steps }, step) {
    this.sentence.textContent = sentence;
    this.tabs.replaceChildren();
    this.record.stages.forEach(({ title }, i) => {
      const here = i + 1 === this.number;
      const link = make("a", "", this.tabs, { href: this.elsewhere(i + 1, null), ...(here ? { "aria-current": "page" } : {}) });
      link.textContent = title;
    });
    this.steps.replaceChildren();
    this.steps.hidden = steps.length < 2;
    steps.forEach(({ title, hint }, i) => {
      const here = i === step ? { "aria-current": "step" } : {};
      const link = make("a", "", this.steps, { href: this.address({ step: i + 1, row: null }), title: hint, ...here });
      link.textContent = title;
    });
  }

  /** The user picked a row of the viewer, or let go. @param {import("./sceneview.js").Pick} pick */
  pick(pick) {
    const shown = this.shown;
    if (!pick || !shown) goTo(this.address({ row: null }));
    else if (pick[0] === shown.main) goTo(this.address({ row: this.stages[(this.number ?? 1) - 1].rowOf(pick[1]) }));
  }

  /** @param {string} key @returns {boolean} whether it meant something */
  key(key) {
    if (/^[1-7]$/.test(key) && Number(key) <= this.stages.length) {
      goTo(this.elsewhere(Number(key), null));
      return true;
    }
    const way = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (way) {
      const next = (this.step ?? 0) + way;
      const { steps } = this.stages[(this.number ?? 1) - 1].record;
      if (next >= 0 && next < steps.length) goTo(this.address({ step: next + 1, row: null }));
      return true;
    }
    if (key === "/") {
      this.subjects.focus();
      return true;
    }
    if (key === "Escape") {
      for (const name of ["row", "object", "detection"]) {
        if (!this.params.has(name)) continue;
        goTo(this.address({ [name]: null }));
        return true;
      }
    }
    return false;
  }
}

/** What an address follows, such as "object-3". @param {URLSearchParams} params */
function subjectIn(params) {
  for (const kind of ["object", "detection"]) {
    const row = wholeIn(params, kind);
    if (row !== null) return `${kind}-${row}`;
  }
  return null;
}
