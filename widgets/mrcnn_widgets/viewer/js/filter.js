// @ts-check
// Which rows are on show: not hidden, inside the thresholds, in view.

/**
 * @typedef {import("./layers.js").Layer} Layer
 * @typedef {import("./view.js").Transform} Transform
 * @typedef {Record<string, Record<string, [number | null, number | null]>>} Thresholds
 *   layer → field → lowest and highest value
 */

/**
 * Recomputes which rows of a layer are shown, and counts those inside the thresholds.
 * @param {Layer} layer
 * @param {Set<string>} hidden keys `layer` and `layer/group`
 * @param {Thresholds} thresholds
 */
export function filter(layer, hidden, thresholds) {
  layer.on = !hidden.has(layer.name);
  const groupOn = layer.groups.map((group) => !hidden.has(`${layer.name}/${group.name}`));
  const { shown, groupOf } = layer;
  layer.counts = new Uint32Array(layer.groups.length);
  if (layer.kind === "grid") {
    layer.counts[0] = layer.rows;
    return;
  }
  const bounds = Object.entries(thresholds[layer.name] ?? {}).flatMap(([name, [low, high]]) => {
    const values = layer.fields.find((field) => field.name === name)?.values;
    // Fields are float32: 0.7 as a double would lose the rows that are 0.7 exactly.
    const [least, most] = [Math.fround(low ?? -Infinity), Math.fround(high ?? Infinity)];
    return values ? [{ values, least, most }] : [];
  });
  for (let i = 0; i < layer.rows; i++) {
    let inside = 1;
    for (const { values, least, most } of bounds) {
      if (!(values[i] >= least && values[i] <= most)) inside = 0;
    }
    layer.counts[groupOf[i]] += inside;
    shown[i] = inside && groupOn[groupOf[i]] ? 1 : 0;
  }
}

/**
 * Rows on show that have something in view, a list for each group.
 * @param {Layer} layer
 * @param {Transform} t
 * @returns {Generator<void, number[][]>}
 */
export function* inView(layer, t) {
  const [x1, y1, x2, y2] = layer.box;
  const left = -t.x / t.s;
  const right = (t.w - t.x) / t.s;
  const top = -t.y / t.s;
  const bottom = (t.h - t.y) / t.s;
  /** @type {number[][]} */
  const lists = layer.groups.map(() => []);
  for (let i = 0; i < layer.rows; i++) {
    if ((i & 16383) === 16383) yield;
    if (!layer.shown[i]) continue;
    if (x1[i] > right || x2[i] < left || y1[i] > bottom || y2[i] < top) continue;
    lists[layer.groupOf[i]].push(i);
  }
  return lists;
}

/**
 * The keys that are hidden once `key` was shown or hidden.
 * @param {string[]} hidden
 * @param {string} key
 */
export function toggled(hidden, key) {
  return hidden.includes(key) ? hidden.filter((other) => other !== key) : [...hidden, key];
}

/**
 * The keys that are hidden once only `key` is shown of its kind, or all of them if it was alone.
 * @param {string[]} hidden
 * @param {string} key a layer's, or a group's among those of its layer
 * @param {string[]} keys all there are
 */
export function onlyThis(hidden, key, keys) {
  const others = keys.filter((other) => familyOf(other) === familyOf(key) && other !== key);
  const alone = others.every((other) => hidden.includes(other)) && !hidden.includes(key);
  const elsewhere = hidden.filter((other) => other !== key && !others.includes(other));
  return alone ? elsewhere : [...elsewhere, ...others];
}

/** The layer of a group's key; null for the key of a layer. @param {string} key */
function familyOf(key) {
  return key.includes("/") ? key.split("/")[0] : null;
}
