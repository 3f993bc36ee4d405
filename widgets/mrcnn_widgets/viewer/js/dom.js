// @ts-check
// Elements. Text from data only ever becomes `textContent`.

/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */

/**
 * Makes an element of a class, with attributes, as the last child of `parent`.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} name
 * @param {HTMLElement | null} parent
 * @param {Record<string, string>} attributes
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, name, parent, attributes = {}) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent?.append(node);
  return node;
}

/**
 * A little picture of how a group is drawn.
 * @param {string} color
 * @param {import("./layers.js").Dash} dash
 * @param {string} kind of the layer
 * @param {string[] | null} colors of its rows, which go before that of the group
 */
export function swatch(color, dash, kind = "box", colors = null) {
  const svg = shape("svg", { width: 18, height: 14, "aria-hidden": "true" });
  const [name, place] =
    kind === "point"
      ? ["circle", { cx: 9, cy: 7, r: 4 }]
      : ["rect", { x: 2, y: 2, width: 14, height: 10, rx: 1.5 }];
  const [on, off] = { solid: [1, 0], dashed: [4, 2.4], dotted: [1.6, 2] }[dash];
  // A rim, without which white would not show on light paper, nor blue on dark.
  const rim = {
    fill: "none",
    stroke: "var(--mrv-rim)",
    "stroke-width": 3.4,
    "stroke-dasharray": `${on + 0.7} ${Math.max(off - 0.7, 0)}`,
    "stroke-dashoffset": 0.35,
  };
  const ink = {
    fill: kind === "point" || kind === "mask" ? color : "none",
    "fill-opacity": 0.45,
    stroke: colors?.length ? colors[0] : color,
    "stroke-width": 2,
    "stroke-dasharray": `${on} ${off}`,
  };
  svg.append(shape(name, { ...place, ...rim }), shape(name, { ...place, ...ink }));
  return svg;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function shape(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

/**
 * What to draw on a canvas with.
 * @param {HTMLCanvasElement | OffscreenCanvas} canvas
 * @param {CanvasRenderingContext2DSettings} options
 * @returns {Context}
 */
export function context(canvas, options = {}) {
  return /** @type {Context} */ (canvas.getContext("2d", options));
}

/**
 * Strokes a path several times, the widest first.
 * @param {Context} ctx @param {Path2D} path @param {number} dpr
 * @param {[string, number][]} strokes style and width, CSS pixels
 */
export function strokeAll(ctx, path, dpr, strokes) {
  for (const [style, width] of strokes) {
    ctx.strokeStyle = style;
    ctx.lineWidth = width * dpr;
    ctx.stroke(path);
  }
}
