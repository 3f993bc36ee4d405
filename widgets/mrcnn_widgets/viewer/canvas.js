// The viewer: a photo with boxes, masks, arrows, cells and points to zoom into, hover and pick.
//
// One module for two homes: `render` for a Jupyter front end (anywidget), `mount` for a plain page.
// It knows nothing of what the layers mean. Text from data only ever becomes `textContent`.

const DENSE = 600; // above this many rows in view, a group is shaded by density instead of stroked
const CROWDED = 200; // above this many, their lines are thin and translucent
const MAX_LABELS = 250;
const MAX_ZOOM = 64; // screen pixels for a pixel of the photo
const DASHES = { solid: [1, 1], dashed: [7, 11], dotted: [2, 5] }; // drawn, and repeated after: CSS pixels
const BUSY_MS = 4; // drawing time for a frame while the view moves, the rest of it is the browser's
const CALM_MS = 45;
const SETTLED_MS = 120;
const REPORT_MS = 80; // the kernel hears of the pointer at most this often

// Each rule names the root as well, to win over what a page says of plain buttons and lists.
const STYLE = `
.mrv {
  --mrv-ink: #1f2328; --mrv-soft: #59636e; --mrv-paper: #ffffff; --mrv-line: #d1d9e0;
  --mrv-card: rgba(255, 255, 255, .96); --mrv-back: #eef1f4; --mrv-focus: #0969da;
  color-scheme: light; color: var(--mrv-ink);
  font: 12px/1.45 var(--jp-ui-font-family, system-ui, -apple-system, "Segoe UI", sans-serif);
  box-sizing: border-box; width: 100%; padding: 2px; text-align: left;
}
@media (prefers-color-scheme: dark) {
  body:not([data-jp-theme-light]):not(.vscode-light) .mrv {
    --mrv-ink: #e6edf3; --mrv-soft: #9da7b3; --mrv-paper: #161b22; --mrv-line: #3d444d;
    --mrv-card: rgba(22, 27, 34, .95); --mrv-back: #0d1117; --mrv-focus: #58a6ff;
    color-scheme: dark;
  }
}
body[data-jp-theme-light="false"] .mrv, body.vscode-dark .mrv {
  --mrv-ink: #e6edf3; --mrv-soft: #9da7b3; --mrv-paper: #1c2128; --mrv-line: #444c56;
  --mrv-card: rgba(28, 33, 40, .95); --mrv-back: #0d1117; --mrv-focus: #58a6ff;
  color-scheme: dark;
}
.mrv *, .mrv *::before { box-sizing: border-box; }
.mrv .mrv-title { font-size: 13px; font-weight: 600; margin: 0 0 6px; }
.mrv .mrv-title:empty { display: none; }
.mrv .mrv-stage {
  position: relative; overflow: hidden; border-radius: 6px; background: var(--mrv-back);
  cursor: crosshair; touch-action: none; user-select: none; -webkit-user-select: none;
  outline: none;
}
.mrv .mrv-stage.mrv-drag { cursor: grabbing; }
.mrv .mrv-stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.mrv .mrv-stage:focus-visible, .mrv button:focus-visible, .mrv input:focus-visible {
  outline: 2px solid var(--mrv-focus); outline-offset: 1px;
}
.mrv .mrv-tools {
  position: absolute; top: 8px; right: 8px; display: flex; border-radius: 6px; overflow: hidden;
  background: var(--mrv-card); box-shadow: 0 0 0 1px var(--mrv-line); opacity: 0;
  transition: opacity .12s;
}
.mrv .mrv-stage:hover .mrv-tools, .mrv .mrv-stage:focus-within .mrv-tools,
.mrv .mrv-stage:focus .mrv-tools { opacity: 1; }
@media (hover: none) { .mrv .mrv-tools { opacity: 1; } }
.mrv .mrv-tools button {
  all: unset; width: 26px; height: 24px; text-align: center; cursor: pointer;
  font-size: 14px; line-height: 24px; color: var(--mrv-ink);
}
.mrv .mrv-tools button + button { border-left: 1px solid var(--mrv-line); }
.mrv .mrv-tools button.mrv-fit { width: auto; padding: 0 8px; font-size: 11px;
  font-variant-numeric: tabular-nums; }
.mrv .mrv-tools button:hover { background: var(--mrv-line); }
.mrv .mrv-tools button:focus-visible { outline-offset: -2px; }
.mrv .mrv-card {
  position: absolute; top: 0; left: 0; width: max-content; max-width: 280px; padding: 7px 10px 8px;
  border-radius: 6px; background: var(--mrv-card); pointer-events: none;
  box-shadow: 0 0 0 1px var(--mrv-line), 0 4px 16px rgba(0, 0, 0, .22);
}
.mrv [hidden] { display: none !important; }
.mrv .mrv-card-head { display: flex; align-items: center; gap: 6px; font-weight: 600; }
.mrv .mrv-card-head span { overflow-wrap: anywhere; }
.mrv .mrv-lines {
  display: grid; grid-template-columns: auto 1fr; gap: 0 12px; margin: 4px 0 0; padding: 0;
  font-variant-numeric: tabular-nums;
}
.mrv .mrv-lines span:nth-child(odd) { color: var(--mrv-soft); }
.mrv .mrv-lines span:nth-child(even) { text-align: right; overflow-wrap: anywhere; }
.mrv .mrv-card-foot { margin-top: 5px; color: var(--mrv-soft); font-size: 11px; }
.mrv .mrv-card-foot:empty { display: none; }
.mrv .mrv-legend {
  display: flex; flex-wrap: wrap; align-items: center; gap: 5px 6px; margin-top: 8px;
  max-height: 121px; overflow-y: auto; padding: 2px;
}
.mrv .mrv-legend:empty { display: none; }
.mrv .mrv-set { display: contents; }
.mrv .mrv-chip {
  all: unset; display: inline-flex; align-items: center; gap: 6px; padding: 1px 9px 1px 7px;
  border-radius: 11px; box-shadow: inset 0 0 0 1px var(--mrv-line); background: var(--mrv-paper);
  cursor: pointer; line-height: 20px; max-width: 260px; box-sizing: border-box;
}
.mrv .mrv-chip > span:first-of-type { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mrv .mrv-chip:hover { box-shadow: inset 0 0 0 1px var(--mrv-soft); }
.mrv .mrv-chip:focus-visible { border-radius: 11px; }
.mrv svg { flex: none; --mrv-rim: var(--mrv-soft); }
.mrv .mrv-chip .mrv-count { color: var(--mrv-soft); font-variant-numeric: tabular-nums;
  white-space: nowrap; text-align: right; }
.mrv .mrv-chip[aria-pressed="false"] { background: transparent; color: var(--mrv-soft); }
.mrv .mrv-chip[aria-pressed="false"] > span:first-of-type { text-decoration: line-through; }
.mrv .mrv-chip[aria-pressed="false"] svg, .mrv .mrv-chip.mrv-none svg { opacity: .35; }
.mrv .mrv-chip.mrv-none { color: var(--mrv-soft); }
.mrv .mrv-chip.mrv-all { box-shadow: none; background: none; padding: 1px 2px; font-weight: 600; }
.mrv .mrv-set:not(:first-child) .mrv-all { margin-left: 8px; }
.mrv .mrv-slider { display: inline-flex; align-items: center; gap: 6px; color: var(--mrv-soft); }
.mrv .mrv-slider input { width: 96px; margin: 0; accent-color: var(--mrv-focus); }
.mrv .mrv-slider output { color: var(--mrv-ink); min-width: 3.2em;
  font-variant-numeric: tabular-nums; }
.mrv .mrv-status {
  min-height: 18px; margin-top: 4px; padding: 0 2px; color: var(--mrv-soft);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  font-variant-numeric: tabular-nums;
}
.mrv .mrv-help { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

const HELP =
  "Arrow keys pan, plus and minus zoom, 0 shows the whole photo. Tab and Shift Tab go through " +
  "what lies under the pointer or the crosshair, Enter picks it, Escape lets go.";

export default {
  render({ model, el }) {
    const viewer = new Viewer(el, model);
    return () => viewer.destroy();
  },
};

/** Shows an exported scene in a plain page, without Jupyter; the result's `destroy()` removes it. */
export function mount(element, state) {
  return new Viewer(element, new PlainModel(state));
}

/** Stands in for a Jupyter model: the exported state, and who wants to hear of changes. */
class PlainModel {
  constructor(state) {
    this.state = { hidden: [], thresholds: {}, hovered: null, selected: null, ...state };
    this.listeners = new Map();
    for (const [name, value] of Object.entries(state)) {
      if (name === "_photo" || name.startsWith("_layer_")) this.state[name] = bytesOf(value);
    }
  }
  get(name) {
    return this.state[name];
  }
  set(name, value) {
    this.state[name] = value;
    for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
  }
  save_changes() {}
  on(event, listener) {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event).add(listener);
  }
  off(event, listener) {
    this.listeners.get(event)?.delete(listener);
  }
}

function bytesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new DataView(bytes.buffer);
}

// ---------------------------------------------------------------------------------------------
// Layers: from bytes to typed arrays

async function inflate(view) {
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

const TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

/** A layer as the painters want it: its description, and x1, y1, x2, y2 as four arrays. */
function unpack(about, buffer) {
  const array = (name) => {
    const [offset, count, type] = about.arrays[name];
    return new TYPES[type](buffer, offset, count);
  };
  const columns = (name, count) => {
    const all = array(name);
    const rows = all.length / count;
    return Array.from({ length: count }, (_, i) => all.subarray(i * rows, (i + 1) * rows));
  };
  const layer = { ...about, on: true, shown: new Uint8Array(about.rows).fill(1) };
  layer.groupOf = about.kind === "grid" ? new Uint8Array(1) : array("group");
  layer.fields = (about.fields ?? []).map((f) => ({ ...f, values: array(`field ${f.name}`) }));
  if (about.kind === "box" || about.kind === "mask") layer.box = columns("boxes", 4);
  if (about.kind === "arrow") {
    layer.start = columns("start", 4);
    layer.box = columns("end", 4);
  }
  if (about.kind === "point") {
    const [x, y] = columns("points", 2);
    layer.box = [x, y, x, y];
  }
  if (about.kind === "grid") layer.cells = columns("cells", 2);
  if (about.kind === "mask") layer.masks = unpackMasks(about.grids, array("masks"));
  return layer;
}

/** Each mask's size and values: 0 or 255 for a bool mask, which travels as bits. */
function unpackMasks(grids, bytes) {
  let offset = 0;
  return grids.map(([height, width, isBool]) => {
    const count = height * width;
    const values = new Uint8Array(count);
    if (isBool) {
      for (let i = 0; i < count; i++) {
        if (bytes[offset + (i >> 3)] & (128 >> (i & 7))) values[i] = 255;
      }
      offset += (count + 7) >> 3;
    } else {
      values.set(bytes.subarray(offset, offset + count));
      offset += count;
    }
    return { width, height, isBool, values };
  });
}

function colorOf(layer, row) {
  return layer.colors ? layer.colors[row] : layer.groups[layer.groupOf[row]].color;
}

/** Recomputes which rows are on show: not hidden, and inside every threshold. */
function filter(layer, hidden, thresholds) {
  layer.on = !hidden.has(layer.name);
  const groupOn = layer.groups.map((group) => !hidden.has(`${layer.name}/${group.name}`));
  const { shown, groupOf } = layer;
  layer.counts = new Uint32Array(layer.groups.length);
  if (layer.kind === "grid") {
    layer.counts[0] = layer.rows;
    return;
  }
  const tests = Object.entries(thresholds[layer.name] ?? {}).flatMap(([name, [low, high]]) => {
    const values = layer.fields.find((field) => field.name === name)?.values;
    if (!values) return [];
    // Fields are float32: 0.7 as a double would lose the rows that are 0.7 exactly.
    return [[values, Math.fround(low ?? -Infinity), Math.fround(high ?? Infinity)]];
  });
  for (let i = 0; i < layer.rows; i++) {
    let inside = 1;
    for (const [values, low, high] of tests) {
      if (!(values[i] >= low && values[i] <= high)) inside = 0;
    }
    layer.counts[groupOf[i]] += inside;
    shown[i] = inside && groupOn[groupOf[i]] ? 1 : 0;
  }
}

// ---------------------------------------------------------------------------------------------
// Painters: generators that yield often, so that a frame can stop when its time is up.
// `t` maps the photo to device pixels: X = x * t.s + t.x, on a canvas of t.w × t.h.

function* paintScene(ctx, photo, layers, t, dpr, raster) {
  paintPhoto(ctx, photo, t);
  yield;
  for (const layer of layers) {
    if (!layer.on) continue;
    yield* PAINTERS[layer.kind](ctx, layer, t, dpr, raster);
    yield;
  }
  const taken = [];
  for (const layer of layers) {
    if (layer.on && layer.labels) paintLabels(ctx, layer, t, dpr, taken);
  }
}

const PAINTERS = {
  box: paintBoxes, mask: paintMasks, arrow: paintArrows, point: paintPoints, grid: paintGrid,
};

function paintPhoto(ctx, { bitmap, step }, t) {
  const s = t.s * step; // device pixels for a pixel of the bitmap
  // Only what is in view: without a GPU the browser would scale the rest as well.
  const left = Math.max(0, Math.floor(-t.x / s)), top = Math.max(0, Math.floor(-t.y / s));
  const right = Math.min(bitmap.width, Math.ceil((t.w - t.x) / s));
  const bottom = Math.min(bitmap.height, Math.ceil((t.h - t.y) / s));
  ctx.imageSmoothingEnabled = s < 4; // from there on people want to see the pixels
  ctx.drawImage(bitmap, left, top, right - left, bottom - top,
    left * s + t.x, top * s + t.y, (right - left) * s, (bottom - top) * s);
}

/** Rows on show that have something in view, a list for each group. */
function* inView(layer, t) {
  const [x1, y1, x2, y2] = layer.box;
  const left = -t.x / t.s, right = (t.w - t.x) / t.s;
  const top = -t.y / t.s, bottom = (t.h - t.y) / t.s;
  const lists = layer.groups.map(() => []);
  for (let i = 0; i < layer.rows; i++) {
    if ((i & 16383) === 16383) yield;
    if (!layer.shown[i]) continue;
    if (x1[i] > right || x2[i] < left || y1[i] > bottom || y2[i] < top) continue;
    lists[layer.groupOf[i]].push(i);
  }
  return lists;
}

function* paintBoxes(ctx, layer, t, dpr, raster) {
  const lists = yield* inView(layer, t);
  for (let g = 0; g < lists.length; g++) {
    const { color, dash } = layer.groups[g];
    if (lists[g].length > DENSE) yield* raster.shade(layer, lists[g], color, t);
    else yield* raster.outline(layer, lists[g], dash, t, dpr);
  }
  raster.flush(ctx);
}

/** A box in device pixels, cut a little outside of the canvas: dashes far off cost time. */
function deviceBox([x1, y1, x2, y2], row, t) {
  const cut = (value, end) => Math.round(Math.min(Math.max(value, -40), end + 40));
  return [
    cut(x1[row] * t.s + t.x, t.w), cut(y1[row] * t.s + t.y, t.h),
    cut(x2[row] * t.s + t.x, t.w), cut(y2[row] * t.s + t.y, t.h),
  ];
}

/**
 * Draws the outlines of boxes into a buffer of pixels: edges are rows and columns of it, so this is
 * far cheaper than a path, dashes above all.
 *
 * Few boxes become crisp lines. Many are shaded by how many outlines run through a pixel: only the
 * two ends of each edge are written, and one running sum over the canvas then fills all edges. That
 * costs eight writes a box and one pass a group, however long the edges are.
 */
class BoxRaster {
  constructor() {
    this.w = this.h = 0;
  }

  resize(w, h) {
    if (w === this.w && h === this.h) return;
    [this.w, this.h] = [w, h];
    this.across = new Int32Array((w + 1) * h); // +1 where a horizontal edge starts, −1 behind it
    this.down = new Int32Array(w * (h + 1));
    this.counting = false; // counts are in progress
    this.image = new ImageData(w, h);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.canvas = new OffscreenCanvas(w, h);
    this.dirty = false;
  }

  /** Starts a scene; whatever an abandoned painter left behind goes. */
  begin(w, h) {
    this.resize(w, h);
    if (this.counting) {
      this.across.fill(0);
      this.down.fill(0);
      this.counting = false;
    }
    if (this.dirty) this.pixels.fill(0);
    this.dirty = false;
  }

  *outline(layer, rows, dash, t, dpr) {
    if (!rows.length) return;
    const crowded = rows.length > CROWDED;
    this.dirty = true;
    const width = Math.max(1, Math.round((crowded ? 1 : layer.width) * dpr));
    // A dark rim keeps thin lines readable on a light photo; a crowd lets the photo shine through.
    if (!crowded) yield* this.lines(layer, rows, dash, t, dpr, width, Math.ceil(dpr * 0.6), 112);
    yield* this.lines(layer, rows, dash, t, dpr, width, 0, crowded ? 170 : 255);
  }

  *lines(layer, rows, dash, t, dpr, width, rim, alpha) {
    const [on, period] = DASHES[dash].map((length) => Math.round(length * dpr));
    for (let k = 0; k < rows.length; k++) {
      if ((k & 63) === 63) yield;
      const [r, g, b] = rgb(colorOf(layer, rows[k]));
      const ink = (alpha << 24) | (rim ? 0 : (b << 16) | (g << 8) | r);
      const [x1, y1, x2, y2] = deviceBox(layer.box, rows[k], t);
      const thick = width + 2 * rim;
      const right = Math.max(x2, x1 + width), bottom = Math.max(y2, y1 + width);
      for (const y of [y1 - rim, bottom - width - rim]) {
        this.bar(x1 - rim, y, right + rim, y + thick, ink, on + 2 * rim, period, 0, rim);
      }
      for (const x of [x1 - rim, right - width - rim]) {
        this.bar(x, y1 - rim, x + thick, bottom + rim, ink, 0, period, on + 2 * rim, rim);
      }
    }
    yield;
  }

  /** Fills a bar, dashed along x (`onX`) or y (`onY`); a rim leaves alone what is drawn already. */
  bar(x1, y1, x2, y2, ink, onX, period, onY, rim) {
    const { pixels, w, h } = this;
    const left = Math.max(x1, 0), right = Math.min(x2, w);
    const bottom = Math.min(y2, h);
    for (let y = Math.max(y1, 0); y < bottom; y++) {
      if (onY && (y - y1) % period >= onY) continue;
      for (let x = left, p = y * w + left; x < right; x++, p++) {
        if (onX && (x - x1) % period >= onX) continue;
        if (!rim || pixels[p] === 0) pixels[p] = ink;
      }
    }
  }

  *shade(layer, rows, color, t) {
    this.counting = this.dirty = true;
    const { across, down, w, h } = this;
    const [bx1, by1, bx2, by2] = layer.box;
    const stride = w + 1;
    const { s, x: ox, y: oy } = t;
    for (let k = 0; k < rows.length; k++) {
      if ((k & 4095) === 4095) yield;
      const i = rows[k];
      const fx1 = bx1[i] * s + ox, fy1 = by1[i] * s + oy;
      const fx2 = bx2[i] * s + ox - 1, fy2 = by2[i] * s + oy - 1;
      if (fx2 < -0.5 || fy2 < -0.5) continue; // ends before the canvas begins
      const x1 = fx1 < 0 ? 0 : (fx1 + 0.5) | 0;
      const y1 = fy1 < 0 ? 0 : (fy1 + 0.5) | 0;
      const x2 = fx2 >= w - 1 ? w - 1 : (fx2 + 0.5) | 0;
      const y2 = fy2 >= h - 1 ? h - 1 : (fy2 + 0.5) | 0;
      if (x1 >= w || y1 >= h || x2 < x1 || y2 < y1) continue;
      if (fy1 >= -0.5) {
        across[y1 * stride + x1]++;
        across[y1 * stride + x2 + 1]--;
      }
      if (fy2 <= h - 0.5) {
        across[y2 * stride + x1]++;
        across[y2 * stride + x2 + 1]--;
      }
      if (fx1 >= -0.5) {
        down[y1 * w + x1]++;
        down[(y2 + 1) * w + x1]--;
      }
      if (fx2 <= w - 0.5) {
        down[y1 * w + x2]++;
        down[(y2 + 1) * w + x2]--;
      }
    }
    yield;
    yield* this.fill(color, ...(yield* this.sum()));
    this.counting = false;
  }

  /** Turns ends of edges into counts, in place; returns the mean of those above 0 and the most. */
  *sum() {
    const { across, down, w, h } = this;
    let total = 0, pixels = 0, most = 0;
    for (let y = 0; y < h; y++) {
      if ((y & 63) === 63) yield;
      const a = y * (w + 1), d = y * w;
      let run = 0;
      for (let x = 0; x < w; x++) {
        run += across[a + x];
        const column = down[d + x];
        if (column !== 0) down[d + w + x] += column;
        const count = run + column;
        across[a + x] = count;
        if (count > 0) {
          total += count;
          pixels++;
          if (count > most) most = count;
        }
      }
    }
    return [pixels ? total / pixels : 1, most];
  }

  /** Lays a color over the pixels that have a count, and clears the counts. */
  *fill(color, usual, most) {
    const { across, down, pixels, w, h } = this;
    const opacity = new Uint8Array(most + 1);
    for (let count = 1; count <= most; count++) {
      opacity[count] = 255 * 0.65 * (1 - Math.exp(-count / Math.max(0.6, 1.1 * usual)));
    }
    const [r, g, b] = rgb(color);
    const ink = (b << 16) | (g << 8) | r;
    for (let y = 0; y < h; y++) {
      if ((y & 63) === 63) yield;
      const a = y * (w + 1), p = y * w;
      for (let x = 0; x < w; x++) {
        const count = across[a + x];
        if (count <= 0) continue;
        const alpha = opacity[count];
        const under = pixels[p + x];
        if (under === 0) {
          pixels[p + x] = (alpha << 24) | ink;
          continue;
        }
        // Over another group: the colors mix, the more opaque of both decides the opacity.
        const ur = under & 255, ug = (under >> 8) & 255, ub = (under >> 16) & 255;
        const above = Math.max(alpha, under >>> 24);
        pixels[p + x] = (above << 24) |
          ((ub + (((b - ub) * alpha) >> 8)) << 16) |
          ((ug + (((g - ug) * alpha) >> 8)) << 8) |
          (ur + (((r - ur) * alpha) >> 8));
      }
    }
    across.fill(0);
    down.fill(0);
  }

  flush(ctx) {
    if (!this.dirty) return;
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
    ctx.drawImage(this.canvas, 0, 0);
    this.pixels.fill(0);
    this.dirty = false;
  }
}

function* paintMasks(ctx, layer, t, dpr) {
  const lists = yield* inView(layer, t);
  for (const row of lists.flat().sort((a, b) => a - b)) {
    const mask = layer.masks[row];
    if (!mask.values.length) continue;
    const color = colorOf(layer, row);
    const [X, Y, W, H] = maskPlace(layer, row, t);
    ctx.globalAlpha = layer.opacity;
    ctx.imageSmoothingEnabled = W < mask.width;
    ctx.drawImage(tinted(mask, color), X, Y, W, H);
    ctx.globalAlpha = 1;
    if (mask.isBool && layer.outline) {
      const path = maskPath(layer, row, t);
      ctx.lineJoin = "round";
      ctx.strokeStyle = "rgba(0, 0, 0, .4)";
      ctx.lineWidth = (layer.width + 1.2) * dpr;
      ctx.stroke(path);
      ctx.strokeStyle = color;
      ctx.lineWidth = layer.width * dpr;
      ctx.stroke(path);
    }
    yield;
  }
}

function tinted(mask, color) {
  if (mask.tint === color) return mask.canvas;
  const [r, g, b] = rgb(color);
  const image = new ImageData(mask.width, mask.height);
  const pixels = new Uint32Array(image.data.buffer);
  const ink = (b << 16) | (g << 8) | r;
  for (let i = 0; i < pixels.length; i++) pixels[i] = (mask.values[i] << 24) | ink;
  mask.canvas = new OffscreenCanvas(mask.width, mask.height);
  mask.canvas.getContext("2d").putImageData(image, 0, 0);
  mask.tint = color;
  return mask.canvas;
}

/** Left, top, width and height of a mask's grid: its box, up to the last cell of a coarser grid. */
function maskPlace(layer, row, t) {
  const [x1, y1, x2, y2] = layer.box.map((column) => column[row]);
  const { width, height } = layer.masks[row];
  const [w, h] = layer.step ? [width * layer.step, height * layer.step] : [x2 - x1, y2 - y1];
  return [x1 * t.s + t.x, y1 * t.s + t.y, w * t.s, h * t.s];
}

/** The outline of a bool mask on the screen. It follows the pixels' edges, so it stays exact. */
function maskPath(layer, row, t) {
  const mask = layer.masks[row];
  const [x, y, w, h] = maskPlace(layer, row, t);
  mask.edges ??= traceEdges(mask);
  const path = new Path2D();
  path.addPath(mask.edges, new DOMMatrix([w / mask.width, 0, 0, h / mask.height, x, y]));
  return path;
}

/** Walks the boundary between set and unset pixels; each loop becomes one closed subpath. */
function traceEdges({ width, height, values }) {
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] > 0;
  const path = new Path2D();
  // Every loop has an edge that runs right with a set pixel below and an unset one above.
  const seen = new Uint8Array((width + 1) * (height + 1));
  const STEP = [[1, 0], [0, 1], [-1, 0], [0, -1]];
  for (let top = 0; top < height; top++) {
    for (let left = 0; left < width; left++) {
      if (!at(left, top) || at(left, top - 1) || seen[top * (width + 1) + left]) continue;
      let x = left, y = top, heading = 0;
      path.moveTo(x, y);
      do {
        if (heading === 0) seen[y * (width + 1) + x] = 1;
        x += STEP[heading][0];
        y += STEP[heading][1];
        const before = heading;
        heading = turn(at, x, y, heading);
        if (heading !== before) path.lineTo(x, y);
      } while (x !== left || y !== top || heading !== 0);
      path.closePath();
    }
  }
  return path;
}

/** Where a walk with the set pixels on its right goes on at corner (x, y). */
function turn(at, x, y, heading) {
  // The two pixels ahead: on the left and on the right of the walk.
  const AHEAD = [
    [[0, -1], [0, 0]], [[0, 0], [-1, 0]], [[-1, 0], [-1, -1]], [[-1, -1], [0, -1]],
  ][heading];
  const [left, right] = AHEAD.map(([dx, dy]) => at(x + dx, y + dy));
  if (!right) return (heading + 1) % 4;
  return left ? (heading + 3) % 4 : heading;
}

function* paintArrows(ctx, layer, t, dpr) {
  const lists = yield* inView(layer, t);
  for (const rows of lists) {
    for (let from = 0; from < rows.length; from += 500) {
      const some = rows.slice(from, from + 500);
      for (const row of some) paintArrow(ctx, layer, row, t, dpr);
      yield;
    }
  }
}

function paintArrow(ctx, layer, row, t, dpr) {
  const a = layer.start.map((column, i) => column[row] * t.s + (i % 2 ? t.y : t.x));
  const b = layer.box.map((column, i) => column[row] * t.s + (i % 2 ? t.y : t.x));
  const color = colorOf(layer, row);
  ctx.strokeStyle = color;
  ctx.fillStyle = color;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = dpr;
  ctx.beginPath();
  for (const [i, j] of [[0, 1], [2, 1], [0, 3], [2, 3]]) {
    ctx.moveTo(a[i], a[j]);
    ctx.lineTo(b[i], b[j]);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
  const tail = [(a[0] + a[2]) / 2, (a[1] + a[3]) / 2];
  const tip = [(b[0] + b[2]) / 2, (b[1] + b[3]) / 2];
  const length = Math.hypot(tip[0] - tail[0], tip[1] - tail[1]);
  if (length < 2 * dpr) return;
  const head = Math.min(8 * dpr, length);
  const [ux, uy] = [(tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length];
  ctx.lineWidth = layer.width * dpr;
  ctx.beginPath();
  ctx.moveTo(...tail);
  ctx.lineTo(tip[0] - ux * head * 0.8, tip[1] - uy * head * 0.8);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(...tip);
  ctx.lineTo(tip[0] - ux * head - uy * head * 0.45, tip[1] - uy * head + ux * head * 0.45);
  ctx.lineTo(tip[0] - ux * head + uy * head * 0.45, tip[1] - uy * head - ux * head * 0.45);
  ctx.fill();
}

function* paintPoints(ctx, layer, t, dpr) {
  const lists = yield* inView(layer, t);
  const many = layer.rows > 3000;
  const r = layer.radius * dpr;
  ctx.strokeStyle = "rgba(0, 0, 0, .65)";
  ctx.lineWidth = dpr;
  for (const rows of lists) {
    for (let k = 0; k < rows.length; k++) {
      if ((k & 511) === 511) yield;
      const x = layer.box[0][rows[k]] * t.s + t.x, y = layer.box[1][rows[k]] * t.s + t.y;
      ctx.fillStyle = colorOf(layer, rows[k]);
      if (many) {
        ctx.fillRect(x - r / 2, y - r / 2, r, r);
        continue;
      }
      ctx.beginPath();
      ctx.arc(x, y, r, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    }
  }
}

function* paintGrid(ctx, layer, t, dpr) {
  const [rows, columns] = layer.shape;
  const [stepX, stepY] = layer.stride.map((step) => step * t.s);
  const left = layer.origin[0] * t.s + t.x, top = layer.origin[1] * t.s + t.y;
  const right = left + columns * stepX, bottom = top + rows * stepY;
  const color = layer.groups[0].color;
  ctx.fillStyle = color;
  ctx.strokeStyle = color;
  for (let i = 0; i < layer.cells[0].length; i++) {
    const x = left + layer.cells[1][i] * stepX, y = top + layer.cells[0][i] * stepY;
    ctx.globalAlpha = 0.45;
    ctx.fillRect(x, y, stepX, stepY);
    ctx.globalAlpha = 1;
    ctx.lineWidth = 2 * dpr;
    ctx.strokeRect(x, y, stepX, stepY);
  }
  // Lines closer than a few pixels would only grey the photo.
  ctx.globalAlpha = 0.55 * Math.min(1, Math.max(0, Math.min(stepX, stepY) / dpr - 2) / 10);
  if (ctx.globalAlpha > 0.01) {
    ctx.lineWidth = dpr;
    ctx.beginPath();
    const lines = (start, step, count, end) => {
      const first = Math.max(0, Math.floor(-start / step));
      const last = Math.min(count, Math.ceil((end - start) / step));
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) =>
        Math.round(start + (first + i) * step) + 0.5);
    };
    for (const x of lines(left, stepX, columns, t.w)) {
      ctx.moveTo(x, Math.max(top, 0));
      ctx.lineTo(x, Math.min(bottom, t.h));
    }
    for (const y of lines(top, stepY, rows, t.h)) {
      ctx.moveTo(Math.max(left, 0), y);
      ctx.lineTo(Math.min(right, t.w), y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  yield;
}

/** Tags above the boxes; one that would cover another is left out until the user zooms in. */
function paintLabels(ctx, layer, t, dpr, taken) {
  const size = 11 * dpr, height = 16 * dpr, pad = 4 * dpr;
  ctx.font = `600 ${size}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (let row = 0; row < layer.rows && taken.length < MAX_LABELS; row++) {
    if (!layer.shown[row] || !layer.labels[row]) continue;
    const [x1, y1, x2, y2] = deviceBox(layer.box, row, t);
    if (x2 < 0 || y2 < 0 || x1 > t.w || y1 > t.h) continue;
    const width = ctx.measureText(layer.labels[row]).width + 2 * pad;
    const x = Math.max(0, Math.min(x1, t.w - width));
    const y = Math.max(0, y1 - height < 0 ? y1 : y1 - height);
    const overlaps = ([a, b, c, d]) => x < c && x + width > a && y < d && y + height > b;
    if (taken.some(overlaps)) continue;
    taken.push([x, y, x + width, y + height]);
    const color = colorOf(layer, row);
    ctx.fillStyle = color;
    ctx.beginPath();
    ctx.roundRect(x, y, width, height, 3 * dpr);
    ctx.fill();
    ctx.fillStyle = inkOn(color);
    ctx.fillText(layer.labels[row], x + pad, y + height / 2 + 0.5 * dpr);
  }
}

function rgb(color) {
  return [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
}

function inkOn(color) {
  const [r, g, b] = rgb(color);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
}

// ---------------------------------------------------------------------------------------------
// What lies under a point

/** Rows of a layer that contain (x, y); `slack` is what still counts as a hit, in photo pixels. */
function hits(layer, x, y, slack, found) {
  const [x1, y1, x2, y2] = layer.box;
  for (let i = 0; i < layer.rows; i++) {
    if (x < x1[i] - slack || x > x2[i] + slack || y < y1[i] - slack || y > y2[i] + slack) continue;
    if (!layer.shown[i] || (layer.kind === "mask" && !inMask(layer, i, x, y))) continue;
    const area = (x2[i] - x1[i]) * (y2[i] - y1[i]);
    const away = Math.hypot((x1[i] + x2[i]) / 2 - x, (y1[i] + y2[i]) / 2 - y);
    found.push({ layer, row: i, area, away });
  }
}

function inMask(layer, row, x, y) {
  const mask = layer.masks[row];
  const [left, top, w, h] = maskPlace(layer, row, { s: 1, x: 0, y: 0 });
  const column = Math.floor(((x - left) / w) * mask.width);
  const line = Math.floor(((y - top) / h) * mask.height);
  const inside = column >= 0 && line >= 0 && column < mask.width && line < mask.height;
  return inside && mask.values[line * mask.width + column] > 0;
}

// ---------------------------------------------------------------------------------------------

class Viewer {
  constructor(element, model) {
    this.model = model;
    this.layers = [];
    this.photo = null;
    this.scene = { width: 1, height: 1, step: 1, layers: [] };
    this.inflated = new WeakMap(); // compressed buffer → its arrays
    this.unpacked = new Map(); // layer name → the layer last made of it
    this.zoom = { cx: 0, cy: 0, k: 1 }; // photo point in the middle; 1 shows the whole photo
    this.version = 0; // of what is drawn, besides the view
    this.candidates = [];
    this.index = -1;
    this.pointer = null;
    this.fingers = new Map();
    this.room = new Map(); // key of a chip → characters of its longest count so far
    this.reserved = { width: 0, height: 0 }; // for the legend, at this width
    this.raster = new BoxRaster();
    this.front = { canvas: new OffscreenCanvas(1, 1), t: null, version: -1 };
    this.back = { canvas: new OffscreenCanvas(1, 1), t: null, version: -1 };
    this.gone = new AbortController();
    this.build(element);
    this.listen();
    this.load();
  }

  // -- DOM -------------------------------------------------------------------------------------

  build(element) {
    const make = (tag, name, parent, attributes = {}) => {
      const node = document.createElement(tag);
      if (name) node.className = name;
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      parent?.append(node);
      return node;
    };
    this.make = make;
    // The attribute keeps JupyterLab's shortcuts away: its key listener runs before ours.
    this.root = make("div", "mrv", element, { "data-lm-suppress-shortcuts": "true" });
    make("style", "", this.root).textContent = STYLE;
    this.heading = make("div", "mrv-title", this.root);
    this.stage = make("div", "mrv-stage", this.root, {
      tabindex: "0", role: "application", "aria-roledescription": "photo viewer",
      "aria-busy": "true",
    });
    this.base = make("canvas", "mrv-base", this.stage, { "aria-hidden": "true" });
    this.overlay = make("canvas", "mrv-overlay", this.stage, { "aria-hidden": "true" });
    this.tools = make("div", "mrv-tools", this.stage, { role: "group", "aria-label": "Zoom" });
    const tool = (name, text, label, act) => {
      const button = make("button", name, this.tools, { type: "button", "aria-label": label, title: label });
      button.textContent = text;
      button.addEventListener("click", act);
      return button;
    };
    tool("", "−", "Zoom out", () => this.zoomBy(1 / 1.5));
    this.fit = tool("mrv-fit", "1×", "Show the whole photo", () => this.reset());
    tool("", "+", "Zoom in", () => this.zoomBy(1.5));
    this.card = make("div", "mrv-card", this.stage, { "aria-hidden": "true", hidden: "" });
    this.legend = make("div", "mrv-legend", this.root, { role: "group", "aria-label": "Legend" });
    this.status = make("div", "mrv-status", this.root, { role: "status", "aria-live": "polite" });
    const id = `mrv-${Math.random().toString(36).slice(2)}`;
    make("div", "mrv-help", this.root, { id }).textContent = HELP;
    this.stage.setAttribute("aria-describedby", id);
  }

  listen() {
    const { signal } = this.gone;
    const on = (target, name, act, options = {}) =>
      target.addEventListener(name, act, { signal, ...options });
    on(this.stage, "wheel", (event) => this.onWheel(event), { passive: false });
    on(this.stage, "pointerdown", (event) => this.onDown(event));
    on(this.stage, "pointermove", (event) => this.onMove(event));
    on(this.stage, "pointerup", (event) => this.onUp(event));
    on(this.stage, "pointercancel", (event) => this.onUp(event));
    on(this.stage, "pointerleave", () => this.onLeave());
    on(this.stage, "dblclick", (event) => {
      if (!this.tools.contains(event.target)) this.reset();
    });
    on(this.stage, "blur", () => this.setCrosshair(false));
    // Keys that mean something here must not also mean something to the notebook.
    for (const name of ["keydown", "keypress", "keyup"]) {
      on(this.root, name, (event) => event.stopPropagation());
    }
    on(this.stage, "keydown", (event) => this.onKey(event));

    this.subscriptions = [];
    const watch = (names, act) => {
      for (const name of names) {
        const listener = () => act.call(this);
        this.model.on(`change:${name}`, listener);
        this.subscriptions.push([`change:${name}`, listener]);
      }
    };
    const buffers = Array.from({ length: 24 }, (_, i) => `_layer_${i}`);
    watch(["_scene", "_photo", ...buffers], this.load);
    watch(["hidden", "thresholds"], this.refilter);
    watch(["selected", "hovered"], this.onPick);
    watch(["title"], this.showTitle);
    watch(["max_height"], this.reserve);
    watch(["view"], this.onView);

    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(this.stage);
  }

  destroy() {
    this.gone.abort();
    this.resizing.disconnect();
    for (const [event, listener] of this.subscriptions) this.model.off(event, listener);
    cancelAnimationFrame(this.frame);
    clearTimeout(this.reporting);
    clearTimeout(this.announcing);
    this.photo?.bitmap.close();
    this.photo = null;
    this.layers = [];
    this.unpacked.clear();
    this.raster = this.front = this.back = this.job = null;
    this.root.remove();
  }

  // -- Data ------------------------------------------------------------------------------------

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
        if (this.stale && !this.gone.signal.aborted) {
          this.stale = false;
          this.load();
        }
      });
  }

  async fetch() {
    this.stale = false;
    const scene = this.model.get("_scene");
    if (!scene?.width) return;
    const buffers = scene.layers.map((_, i) => this.model.get(`_layer_${i}`));
    const source = this.model.get("_photo");
    this.scene = { ...this.scene, width: scene.width, height: scene.height };
    this.reserve();
    const [photo, ...layers] = await Promise.all([
      this.decodePhoto(source, scene),
      ...scene.layers.map((about, i) => this.decodeLayer(about, buffers[i])),
    ]);
    if (this.gone.signal.aborted) {
      photo.bitmap.close();
      return;
    }
    this.adopt(scene, photo, layers.filter(Boolean));
  }

  async decodePhoto(source, scene) {
    if (this.photo?.source === source) return this.photo;
    const bitmap = await createImageBitmap(new Blob([source]));
    return { source, bitmap, step: scene.step };
  }

  async decodeLayer(about, buffer) {
    if (!buffer?.byteLength) return null;
    if (!this.inflated.has(buffer)) this.inflated.set(buffer, await inflate(buffer));
    const text = JSON.stringify(about);
    const known = this.unpacked.get(about.name);
    if (known && known.buffer === buffer && known.text === text) return known.layer;
    const layer = unpack(about, this.inflated.get(buffer));
    this.unpacked.set(about.name, { buffer, text, layer });
    return layer;
  }

  adopt(scene, photo, layers) {
    const sameSize = this.photo && this.photo.width === scene.width && this.photo.height === scene.height;
    if (this.photo && this.photo !== photo) this.photo.bitmap.close();
    photo.width = scene.width;
    photo.height = scene.height;
    this.photo = photo;
    this.scene = scene;
    this.layers = layers;
    const names = new Set(layers.map((layer) => layer.name));
    for (const name of this.unpacked.keys()) if (!names.has(name)) this.unpacked.delete(name);
    this.candidates = [];
    this.index = -1;
    this.showTitle();
    this.resize();
    if (!sameSize) {
      this.zoom = { cx: scene.width / 2, cy: scene.height / 2, k: 1 };
      if (this.model.get("view")) this.onView();
    }
    this.buildLegend();
    this.refilter();
  }

  refilter() {
    const hidden = new Set(this.model.get("hidden"));
    const thresholds = this.model.get("thresholds");
    for (const layer of this.layers) filter(layer, hidden, thresholds);
    this.version++;
    this.updateLegend(hidden, thresholds);
    if (this.pointer || this.crosshair) this.probe();
    this.onPick();
    this.draw();
  }

  showTitle() {
    const title = this.model.get("title") ?? "";
    this.heading.textContent = title;
    const { width, height } = this.scene;
    this.stage.setAttribute("aria-label", `${title || "Photo"}, ${width} by ${height} pixels`);
  }

  // -- Size and view ---------------------------------------------------------------------------

  /** Reserves the photo's place, so that the notebook does not jump when it arrives. */
  reserve() {
    const { width, height } = this.scene;
    const most = this.model.get("max_height") ?? 560;
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.width = `min(100%, ${((most * width) / height).toFixed(2)}px)`;
  }

  resize() {
    const { clientWidth: w, clientHeight: h } = this.stage;
    const dpr = window.devicePixelRatio || 1;
    if (!w || !h) return;
    const [W, H] = [Math.round(w * dpr), Math.round(h * dpr)];
    [this.w, this.h, this.dpr] = [w, h, dpr];
    if (this.base.width === W && this.base.height === H) return;
    for (const canvas of [this.base, this.overlay]) [canvas.width, canvas.height] = [W, H];
    // In the same frame: a resized canvas is blank.
    if (this.photo && !this.paint(CALM_MS)) this.draw();
  }

  /** From the photo to device pixels. */
  transform() {
    const s = (this.base.width / this.scene.width) * this.zoom.k;
    return {
      s, w: this.base.width, h: this.base.height,
      x: this.base.width / 2 - this.zoom.cx * s, y: this.base.height / 2 - this.zoom.cy * s,
    };
  }

  toPhoto([x, y]) {
    const t = this.transform();
    return [(x * this.dpr - t.x) / t.s, (y * this.dpr - t.y) / t.s];
  }

  setZoom(cx, cy, k) {
    const { width, height } = this.scene;
    const most = Math.max(4, (MAX_ZOOM * width) / (this.w || width));
    k = Math.min(Math.max(k, 1), most);
    const clamp = (value, size) => Math.min(Math.max(value, size / k / 2), size - size / k / 2);
    this.zoom = { cx: clamp(cx, width), cy: clamp(cy, height), k };
    this.moved = performance.now();
    this.fit.textContent = k < 9.95 ? `${+k.toFixed(1)}×` : `${Math.round(k)}×`;
    this.draw();
  }

  /** Zooms so that the photo's point under `at` (CSS pixels of the stage) stays there. */
  zoomAt(at, factor) {
    const [x, y] = this.toPhoto(at);
    const { cx, cy, k } = this.zoom;
    const most = Math.max(4, (MAX_ZOOM * this.scene.width) / this.w);
    const next = Math.min(Math.max(k * factor, 1), most);
    this.setZoom(x + ((cx - x) * k) / next, y + ((cy - y) * k) / next, next);
  }

  zoomBy(factor) {
    this.zoomAt([this.w / 2, this.h / 2], factor);
    if (this.crosshair) this.probe();
  }

  panBy(dx, dy) {
    const s = this.transform().s / this.dpr;
    this.setZoom(this.zoom.cx - dx / s, this.zoom.cy - dy / s, this.zoom.k);
  }

  reset() {
    this.setZoom(this.scene.width / 2, this.scene.height / 2, 1);
  }

  onView() {
    const view = this.model.get("view");
    if (!view) return this.reset();
    const [x1, y1, x2, y2] = view;
    const { width, height } = this.scene;
    const k = Math.min(width / Math.max(x2 - x1, 1), height / Math.max(y2 - y1, 1));
    this.setZoom((x1 + x2) / 2, (y1 + y2) / 2, k);
  }

  // -- Frames ----------------------------------------------------------------------------------

  draw() {
    if (this.frame || !this.photo) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (window.devicePixelRatio !== this.dpr) this.resize();
      if (!this.w) return;
      const moving = performance.now() - (this.moved ?? -1e9) < SETTLED_MS;
      const done = this.paint(moving ? BUSY_MS : CALM_MS);
      this.stage.setAttribute("aria-busy", String(!done));
      if (!done) this.draw();
    });
  }

  /** Draws a frame; false if the scene on it is still that of an earlier view or state. */
  paint(budget) {
    const t = this.transform();
    const done = this.renderScene(t, budget);
    const ctx = this.base.getContext("2d", { alpha: false });
    const { canvas, t: then } = this.front;
    if (!then) {
      paintPhoto(ctx, this.photo, t);
    } else {
      const ratio = t.s / then.s;
      let x = t.x - then.x * ratio, y = t.y - then.y * ratio;
      if (ratio === 1) [x, y] = [Math.round(x), Math.round(y)]; // then pixels are merely copied
      const [w, h] = [then.w * ratio, then.h * ratio];
      if (x > 0 || y > 0 || x + w < t.w || y + h < t.h) this.fillAround(ctx, t, x, y, w, h);
      ctx.imageSmoothingEnabled = ratio !== 1;
      ctx.drawImage(canvas, 0, 0, then.w, then.h, x, y, w, h);
    }
    this.paintOverlay(t);
    return done;
  }

  /** Shows the bare photo where the finished scene does not reach yet. */
  fillAround(ctx, t, x, y, w, h) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, 0, t.w, t.h);
    ctx.rect(Math.ceil(x), Math.ceil(y), Math.floor(w) - 1, Math.floor(h) - 1);
    ctx.clip("evenodd");
    paintPhoto(ctx, this.photo, t);
    ctx.restore();
  }

  /**
   * Brings the picture of photo and layers up to date as far as `budget` (ms) allows.
   * It is drawn in the background, for the view at its start; the last finished one is on screen,
   * moved as the view moves. So panning stays smooth however much there is to draw.
   */
  renderScene(t, budget) {
    const until = performance.now() + budget;
    const current = ({ t: a, version }) => version === this.version && a !== null &&
      a.s === t.s && a.x === t.x && a.y === t.y && a.w === t.w && a.h === t.h;
    if (current(this.front)) return true;
    const resized = this.job && (this.back.t.w !== t.w || this.back.t.h !== t.h);
    if (!this.job || this.back.version !== this.version || resized) this.startJob(t);
    while (performance.now() < until) {
      if (!this.job.next().done) continue;
      [this.front, this.back] = [this.back, this.front];
      this.job = null;
      if (current(this.front)) return true;
      this.startJob(t);
    }
    return false;
  }

  startJob(t) {
    const { canvas } = this.back;
    if (canvas.width !== t.w || canvas.height !== t.h) [canvas.width, canvas.height] = [t.w, t.h];
    this.raster.begin(t.w, t.h);
    this.back.t = t;
    this.back.version = this.version;
    const ctx = canvas.getContext("2d", { alpha: false });
    this.job = paintScene(ctx, this.photo, this.layers, t, this.dpr, this.raster);
  }

  paintOverlay(t) {
    const ctx = this.overlay.getContext("2d");
    ctx.clearRect(0, 0, t.w, t.h);
    const onShow = (pick) => pick && pick.layer.on && pick.layer.shown[pick.row] && pick;
    const selected = onShow(this.lookUp(this.model.get("selected")));
    const hovered = this.candidates[this.index] ?? onShow(this.lookUp(this.model.get("hovered")));
    if (selected) this.emphasize(ctx, t, selected, true);
    if (hovered && !same(hovered, selected)) this.emphasize(ctx, t, hovered, false);
    if (this.crosshair) this.paintCrosshair(ctx, t);
  }

  emphasize(ctx, t, { layer, row }, picked) {
    const color = colorOf(layer, row);
    const path = new Path2D();
    const [x1, y1, x2, y2] = deviceBox(layer.box, row, t);
    const mask = layer.masks?.[row];
    if (mask?.isBool && mask.values.length) {
      path.addPath(maskPath(layer, row, t));
    } else if (layer.kind === "point") {
      path.arc(x1, y1, (layer.radius + 2) * this.dpr, 0, 2 * Math.PI);
    } else {
      path.rect(x1, y1, x2 - x1, y2 - y1);
    }
    if (!picked) {
      ctx.fillStyle = color;
      ctx.globalAlpha = 0.14;
      ctx.fill(path);
      ctx.globalAlpha = 1;
    }
    const strokes = picked
      ? [["rgba(0, 0, 0, .75)", 7], ["#fff", 5], [color, 2.5]]
      : [["rgba(0, 0, 0, .6)", 5], ["#fff", 3.5], [color, 2]];
    ctx.lineJoin = "round";
    for (const [style, width] of strokes) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width * this.dpr;
      ctx.stroke(path);
    }
  }

  paintCrosshair(ctx, t) {
    const [x, y, arm] = [t.w / 2, t.h / 2, 9 * this.dpr];
    for (const [style, width] of [["rgba(0, 0, 0, .7)", 3], ["#fff", 1.25]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width * this.dpr;
      ctx.beginPath();
      ctx.moveTo(x - arm, y);
      ctx.lineTo(x + arm, y);
      ctx.moveTo(x, y - arm);
      ctx.lineTo(x, y + arm);
      ctx.stroke();
    }
  }

  // -- Hovering and picking --------------------------------------------------------------------

  /** Everything under a point of the photo: the smallest first, of equals the most central. */
  at([x, y]) {
    const found = [];
    const slack = (4 * this.dpr) / this.transform().s;
    for (const layer of this.layers) {
      if (!layer.on || !layer.pickable) continue;
      const reach = layer.kind === "point" ? ((layer.radius + 2) * this.dpr) / this.transform().s
        : layer.kind === "mask" ? 0 : slack;
      hits(layer, x, y, reach, found);
    }
    return found.sort((a, b) => a.area - b.area || a.away - b.away);
  }

  /** Looks up what is under the pointer, or under the crosshair of somebody without a pointer. */
  probe() {
    const place = this.crosshair ? [this.w / 2, this.h / 2] : this.pointer;
    const before = this.candidates[this.index];
    this.candidates = place ? this.at(this.toPhoto(place)) : [];
    // A keyboard user asks for the first candidate with Tab; a pointer shows it at once.
    this.index = this.crosshair || !this.candidates.length ? -1 : 0;
    if (!same(before, this.candidates[this.index])) this.hover();
    else this.placeCard();
  }

  hover() {
    const candidate = this.candidates[this.index];
    this.showCard(candidate);
    this.report("hovered", candidate ? [candidate.layer.name, candidate.row] : null, REPORT_MS);
    this.redrawOverlay();
  }

  pick(candidate) {
    this.report("selected", candidate ? [candidate.layer.name, candidate.row] : null, 0);
  }

  onPick() {
    const selected = this.lookUp(this.model.get("selected"));
    const hovered = this.crosshair ? this.candidates[this.index] : null;
    this.announce(hovered ? `Under the crosshair: ${describe(hovered)}`
      : selected ? `Selected: ${describe(selected)}` : "");
    this.redrawOverlay();
  }

  /** Screen readers would stutter if each step of the pointer were announced. */
  announce(text) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => {
      if (this.status.textContent !== text) this.status.textContent = text;
    }, 60);
  }

  redrawOverlay() {
    if (this.frame || this.overlaying || !this.photo) return;
    this.overlaying = requestAnimationFrame(() => {
      this.overlaying = 0;
      if (this.photo && this.w) this.paintOverlay(this.transform());
    });
  }

  lookUp(pick) {
    const layer = pick && this.layers.find(({ name }) => name === pick[0]);
    return layer?.box && pick[1] < layer.rows ? { layer, row: pick[1] } : null;
  }

  /** Tells the model, and the kernel at most every `wait` milliseconds. */
  report(name, value, wait) {
    this.model.set(name, value);
    if (wait && this.reporting) return;
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => {
      this.reporting = 0;
      this.model.save_changes();
    }, wait);
  }

  showCard(candidate) {
    this.card.hidden = !candidate;
    if (!candidate) return;
    const { layer, row } = candidate;
    const group = layer.groups[layer.groupOf[row]];
    this.card.replaceChildren();
    const head = this.make("div", "mrv-card-head", this.card);
    head.append(swatch(colorOf(layer, row), group.dash));
    this.make("span", "", head).textContent = `${layer.name} #${row}`;
    const list = this.make("div", "mrv-lines", this.card);
    for (const [name, value] of linesOf(layer, row)) {
      this.make("span", "", list).textContent = name;
      this.make("span", "", list).textContent = value;
    }
    const count = this.candidates.length;
    this.make("div", "mrv-card-foot", this.card).textContent =
      count > 1 ? `${this.index + 1} of ${count.toLocaleString("en")} here · Tab for the next` : "";
    this.placeCard();
  }

  placeCard() {
    if (this.card.hidden) return;
    const [x, y] = this.crosshair || !this.pointer ? [this.w / 2, this.h / 2] : this.pointer;
    const { offsetWidth: w, offsetHeight: h } = this.card;
    const left = x + 16 + w <= this.w ? x + 16 : Math.max(0, x - 16 - w);
    const top = y + 16 + h <= this.h ? y + 16 : Math.max(0, Math.min(y - 16 - h, this.h - h));
    this.card.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  setCrosshair(on) {
    if (this.crosshair === on) return;
    this.crosshair = on;
    if (!on) {
      this.candidates = [];
      this.index = -1;
      this.hover();
      this.onPick();
    }
  }

  // -- Pointer ---------------------------------------------------------------------------------

  place(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  onWheel(event) {
    // Nothing to zoom out of: let the page scroll.
    if (event.deltaY > 0 && this.zoom.k <= 1) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
    this.zoomAt(this.place(event), Math.exp(-Math.max(-240, Math.min(pixels, 240)) / 400));
    this.probeSoon();
  }

  onDown(event) {
    if (this.tools.contains(event.target) || event.button > 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.place(event));
    this.travelled = this.fingers.size > 1 ? Infinity : 0;
    this.setCrosshair(false);
  }

  onMove(event) {
    const now = this.place(event);
    const before = this.fingers.get(event.pointerId);
    this.pointer = this.tools.contains(event.target) ? null : now;
    if (!before) {
      this.setCrosshair(false);
      this.probeSoon();
      return;
    }
    if (this.fingers.size === 2) {
      this.pinch(event.pointerId, before, now);
    } else {
      this.travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (this.travelled > 4) {
        this.stage.classList.add("mrv-drag");
        this.card.hidden = true;
        this.panBy(now[0] - before[0], now[1] - before[1]);
      }
    }
    if (this.fingers.size === 2 || this.travelled > 4) this.fingers.set(event.pointerId, now);
  }

  pinch(id, before, now) {
    const other = [...this.fingers].find(([key]) => key !== id)[1];
    const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
    const middle = ([x, y]) => [(x + other[0]) / 2, (y + other[1]) / 2];
    const [a, b] = [middle(before), middle(now)];
    this.zoomAt(a, apart(now) / apart(before));
    this.panBy(b[0] - a[0], b[1] - a[1]);
  }

  onUp(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    this.stage.classList.remove("mrv-drag");
    const tapped = this.travelled <= 4 && event.type === "pointerup";
    if (this.fingers.size) return;
    this.pointer = event.pointerType === "mouse" ? this.place(event) : null;
    if (!tapped) {
      this.probeSoon();
      return;
    }
    const point = this.toPhoto(this.place(event));
    const under = this.at(point);
    const current = this.candidates[this.index];
    // Tab may have led to another candidate than the first: that one is meant.
    const meant = under.find((candidate) => same(candidate, current)) ?? under[0];
    this.model.set("clicked", point);
    this.pick(meant ?? null);
  }

  onLeave() {
    if (this.fingers.size) return;
    this.pointer = null;
    if (this.crosshair) return;
    this.candidates = [];
    this.index = -1;
    this.hover();
  }

  /** One look-up a frame is enough. */
  probeSoon() {
    if (this.probing) return;
    this.probing = requestAnimationFrame(() => {
      this.probing = 0;
      if (this.photo && !this.fingers.size) this.probe();
    });
  }

  // -- Keyboard --------------------------------------------------------------------------------

  onKey(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 160 : 48;
    const pan = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (pan) {
      this.panBy(pan[0] * step, pan[1] * step);
      this.aim();
    } else if (event.key === "+" || event.key === "=") {
      this.zoomBy(1.5);
      this.aim();
    } else if (event.key === "-" || event.key === "_") {
      this.zoomBy(1 / 1.5);
      this.aim();
    } else if (event.key === "0") {
      this.reset();
      this.aim();
    } else if (event.key === "Tab") {
      if (!this.cycle(event.shiftKey ? -1 : 1)) return;
    } else if (event.key === "Enter" || event.key === " ") {
      const candidate = this.candidates[this.index];
      if (this.crosshair) this.model.set("clicked", this.toPhoto([this.w / 2, this.h / 2]));
      this.pick(candidate ?? null);
    } else if (event.key === "Escape") {
      this.index = -1;
      this.candidates = [];
      this.hover();
      this.pick(null);
    } else return;
    event.preventDefault();
  }

  /** Without a pointer on the photo, the keyboard points with the middle of the view. */
  aim() {
    if (!this.pointer) this.crosshair = true;
    this.probe();
    this.onPick();
  }

  /** Goes to the next candidate; behind the last, Tab leaves the viewer as everywhere else. */
  cycle(direction) {
    if (!this.pointer && !this.crosshair && direction > 0) {
      this.crosshair = true;
      this.probe();
    }
    const next = this.index + direction;
    if (next < 0 || next >= this.candidates.length) return false;
    this.index = next;
    this.hover();
    this.onPick();
    return true;
  }

  // -- Legend ----------------------------------------------------------------------------------

  buildLegend() {
    const focused = this.legend.contains(document.activeElement)
      ? document.activeElement.dataset.key : null;
    this.legend.replaceChildren();
    this.chips = [];
    for (const layer of this.layers) {
      const set = this.make("div", "mrv-set", this.legend, { role: "group", "aria-label": layer.name });
      const totals = new Uint32Array(layer.groups.length);
      for (const group of layer.groupOf) totals[group]++;
      if (layer.groups.length === 1) {
        this.chip(set, layer, layer.name, [0], layer.groups[0]);
      } else {
        this.chip(set, layer, layer.name, [...layer.groups.keys()], null);
        // Dozens of classes without a row would bury the few that have some.
        const worth = (i) => totals[i] > 0 || layer.groups.length <= 8;
        layer.groups.forEach((group, i) => {
          if (worth(i)) this.chip(set, layer, `${layer.name}/${group.name}`, [i], group);
        });
      }
      if (layer.threshold) this.slider(set, layer);
    }
    if (focused) this.legend.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  chip(parent, layer, key, groups, group) {
    const button = this.make("button", "mrv-chip", parent, { type: "button" });
    button.dataset.key = key;
    if (group) button.append(swatch(group.color, group.dash, layer.kind, layer.colors));
    else button.classList.add("mrv-all");
    this.make("span", "", button).textContent = key === layer.name ? layer.name : group.name;
    const count = this.make("span", "mrv-count", button);
    button.title = "Click: show or hide. Alt + click: only this.";
    button.addEventListener("click", (event) => this.toggle(key, event.altKey));
    this.chips.push({ button, layer, key, groups, count });
  }

  toggle(key, only) {
    const hidden = new Set(this.model.get("hidden"));
    if (only) {
      const family = this.chips.flatMap((chip) => chip.key ?? [])
        .filter((other) => other.includes("/") === key.includes("/"))
        .filter((other) => !key.includes("/") || other.split("/")[0] === key.split("/")[0]);
      const alone = family.every((other) => other === key || hidden.has(other)) && !hidden.has(key);
      for (const other of family) {
        if (alone || other === key) hidden.delete(other);
        else hidden.add(other);
      }
    } else if (!hidden.delete(key)) hidden.add(key);
    this.report("hidden", [...hidden], 0);
  }

  slider(parent, layer) {
    const { values } = layer.fields.find((field) => field.name === layer.threshold);
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (!(low < high)) return;
    const label = this.make("label", "mrv-slider", parent);
    label.append(`${layer.threshold} ≥`);
    const input = this.make("input", "", label, {
      type: "range", min: low, max: high, step: "any",
      "aria-label": `${layer.name}: least ${layer.threshold}`,
    });
    input.dataset.key = `${layer.name}\u0000threshold`;
    const output = this.make("output", "", label);
    input.addEventListener("input", () => {
      const all = this.model.get("thresholds");
      const bound = +input.value <= low ? null : +input.value;
      const [, most = null] = all[layer.name]?.[layer.threshold] ?? [];
      const mine = { ...all[layer.name], [layer.threshold]: [bound, most] };
      this.report("thresholds", { ...all, [layer.name]: mine }, REPORT_MS);
    });
    this.chips.push({ input, output, layer, low });
  }

  updateLegend(hidden, thresholds) {
    // Nor does what lies below move when chips come and go.
    const width = this.legend.clientWidth;
    if (width !== this.reserved.width) this.reserved = { width, height: 0 };
    for (const { button, layer, key, groups, count, input, output, low } of this.chips ?? []) {
      if (input) {
        const bound = thresholds[layer.name]?.[layer.threshold]?.[0] ?? low;
        if (+input.value !== bound) input.value = bound;
        output.textContent = bound === low ? "all" : number(bound);
        continue;
      }
      const total = groups.reduce((sum, group) => sum + layer.counts[group], 0);
      const text = layer.kind === "grid" ? layer.shape.join(" × ") : total.toLocaleString("en");
      count.textContent = text;
      // Room for the longest count so far: the other chips stay where they are.
      const room = Math.max(text.length, this.room.get(key) ?? 0);
      this.room.set(key, room);
      count.style.minWidth = `${room}ch`;
      button.classList.toggle("mrv-none", total === 0);
      button.setAttribute("aria-pressed", String(!hidden.has(key) && !hidden.has(layer.name)));
    }
    this.legend.style.minHeight = "";
    this.reserved.height = Math.max(this.reserved.height, this.legend.offsetHeight);
    this.legend.style.minHeight = `${this.reserved.height}px`;
  }
}

function same(a, b) {
  return a === b || (!!a && !!b && a.layer.name === b.layer.name && a.row === b.row);
}

/** Name and value of what there is to say about a row. */
function linesOf(layer, row) {
  const lines = layer.fields.map(({ name, names, values }) =>
    [name, names ? names[values[row]] : number(values[row])]);
  const group = layer.groups[layer.groupOf[row]].name;
  // Rows are often grouped by one of their fields: its line says it all.
  const told = lines.some(([, value], i) => layer.fields[i].names && value === group);
  if (layer.groups.length > 1 && !told) lines.unshift(["group", group]);
  const [x1, y1, x2, y2] = layer.box.map((column) => column[row]);
  if (layer.kind === "point") lines.push(["x, y", `${x1.toFixed(1)}, ${y1.toFixed(1)}`]);
  else lines.push(["box", [x1, y1, x2, y2].map((v) => Math.round(v)).join(", ")]);
  if (layer.kind !== "point") lines.push(["size", `${number(x2 - x1)} × ${number(y2 - y1)}`]);
  return lines;
}

function describe({ layer, row }) {
  return [`${layer.name} #${row}`, ...linesOf(layer, row).map(([k, v]) => `${k} ${v}`)].join(" · ");
}

function number(value) {
  if (Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1)
    : size >= 0.001 ? value.toFixed(3) : value.toExponential(1);
}

/** A little picture of how a group is drawn. */
function swatch(color, dash, kind = "box", colors = null) {
  const space = "http://www.w3.org/2000/svg";
  const add = (parent, name, attributes) => {
    const node = document.createElementNS(space, name);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    parent?.append(node);
    return node;
  };
  const svg = add(null, "svg", { width: 18, height: 14, "aria-hidden": "true" });
  const [name, place] = kind === "point" ? ["circle", { cx: 9, cy: 7, r: 4 }]
    : ["rect", { x: 2, y: 2, width: 14, height: 10, rx: 1.5 }];
  const [on, off] = { solid: [1, 0], dashed: [4, 2.4], dotted: [1.6, 2] }[dash];
  // A rim, without which white would not show on light paper, nor blue on dark.
  add(svg, name, {
    ...place, fill: "none", stroke: "var(--mrv-rim)", "stroke-width": 3.4,
    "stroke-dasharray": `${on + 0.7} ${Math.max(off - 0.7, 0)}`, "stroke-dashoffset": 0.35,
  });
  add(svg, name, {
    ...place, fill: kind === "point" || kind === "mask" ? color : "none", "fill-opacity": 0.45,
    stroke: colors?.length ? colors[0] : color, "stroke-width": 2, "stroke-dasharray": `${on} ${off}`,
  });
  return svg;
}
