// Layers to test with.

/** A layer of boxes, each [x1, y1, x2, y2]; `options` overrides what `unpack` would have made. */
export function boxLayer(rows, options = {}) {
  return {
    kind: "box",
    name: "boxes",
    rows: rows.length,
    groups: [{ name: "boxes", color: "#56B4E9", dash: "solid" }],
    groupOf: new Uint8Array(rows.length),
    shown: new Uint8Array(rows.length).fill(1),
    on: true,
    pickable: true,
    fields: [],
    masks: [],
    box: [0, 1, 2, 3].map((i) => Float32Array.from(rows, (row) => row[i])),
    ...options,
  };
}

/** A mask of rows of "#" and "." */
export function mask(...lines) {
  const values = Uint8Array.from(lines.join(""), (letter) => (letter === "#" ? 255 : 0));
  return { width: lines[0].length, height: lines.length, isBool: true, values };
}

/** Numbers in 0…1, the same in each run (mulberry32). */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
