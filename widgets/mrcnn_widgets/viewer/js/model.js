// @ts-check
// The traits that the viewer shows and reports: a Jupyter model, or what stands in for it.

/**
 * What the viewer asks of anywidget's model.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, listener: () => void) => void} on
 * @property {(event: string, listener: () => void) => void} off
 */

/** The model of a page without Jupyter: an exported state, and who wants to hear of changes. */
export class PlainModel {
  /** @param {Record<string, any>} state */
  constructor(state) {
    /** @type {Record<string, any>} */
    this.state = { hidden: [], thresholds: {}, hovered: null, selected: null, ...state };
    /** @type {Map<string, Set<() => void>>} */
    this.listeners = new Map();
    for (const [name, value] of Object.entries(state)) {
      if (name === "_photo" || name.startsWith("_layer_")) this.state[name] = bytesOf(value);
    }
  }

  /** @param {string} name */
  get(name) {
    return this.state[name];
  }

  /** @param {string} name @param {any} value */
  set(name, value) {
    this.state[name] = value;
    for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
  }

  save_changes() {}

  /** @param {string} event @param {() => void} listener */
  on(event, listener) {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  }

  /** @param {string} event @param {() => void} listener */
  off(event, listener) {
    this.listeners.get(event)?.delete(listener);
  }
}

/** @param {string} base64 */
function bytesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new DataView(bytes.buffer);
}

/** Who listens to a model, so that all can be let go at once. */
export class Subscriptions {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Map<string, () => void>} */
    this.listeners = new Map();
  }

  /**
   * Calls `act` when one of some traits changes; a trait has one listener, the first.
   * @param {string[]} names @param {() => void} act
   */
  watch(names, act) {
    for (const event of names.map((name) => `change:${name}`)) {
      if (this.listeners.has(event)) continue;
      this.listeners.set(event, act);
      this.model.on(event, act);
    }
  }

  end() {
    for (const [event, act] of this.listeners) this.model.off(event, act);
  }
}
