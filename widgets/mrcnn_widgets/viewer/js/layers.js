// @ts-check
// Layers: from the bytes of the wire to typed arrays.

/**
 * @typedef {"solid" | "dashed" | "dotted"} Dash
 * @typedef {{ name: string, text: string, color: string, dash: Dash }} Group
 * @typedef {Uint8Array | Int32Array | Float32Array} Numbers
 *
 * @typedef {object} Mask
 * @property {number} width
 * @property {number} height
 * @property {boolean} isBool
 * @property {Uint8Array} values 0…255, row by row; 0 or 255 for a bool mask
 * @property {OffscreenCanvas} [canvas] the values in the color `tint`
 * @property {string} [tint]
 * @property {Path2D} [edges] the outline in cells of the grid
 *
 * What `wire.encode` tells of a layer.
 * @typedef {object} About
 * @property {"box" | "mask" | "arrow" | "point" | "grid"} kind
 * @property {string} name
 * @property {number} rows
 * @property {Group[]} groups
 * @property {number} width of outlines, CSS pixels
 * @property {boolean} pickable
 * @property {string | null} threshold the field that has a slider
 * @property {string[] | null} labels
 * @property {string[] | null} colors
 * @property {Record<string, [number, number, keyof typeof TYPES]>} arrays
 * @property {{ name: string, names: string[] | null }[]} [fields]
 * @property {number} [radius] of points
 * @property {number} [opacity] of masks
 * @property {boolean} [outline] of masks
 * @property {[number, number, boolean][]} [grids] height, width and whether it is bool, of masks
 * @property {number | null} [step] of a mask's cells, where they are pixels of the photo
 * @property {[number, number]} [stride] of a grid's cells: x, y
 * @property {[number, number]} [shape] of a grid: rows, columns
 * @property {[number, number]} [origin] of a grid: x, y
 *
 * A layer as the painters want it: its description, and x1, y1, x2, y2 as four arrays. What a kind
 * lacks is empty.
 * @typedef {object} Unpacked
 * @property {boolean} on whether the layer is shown
 * @property {Uint8Array} shown whether a row is shown, 0 or 1
 * @property {Uint32Array} counts rows of each group inside the thresholds
 * @property {Uint8Array} groupOf
 * @property {{ name: string, names: string[] | null, values: Numbers }[]} fields
 * @property {Numbers[]} box
 * @property {Numbers[]} start where an arrow starts
 * @property {Numbers[]} cells of a grid: row, column
 * @property {Mask[]} masks
 * @typedef {Omit<About, "fields"> & Unpacked} Layer
 */

const TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

/**
 * @param {DataView<ArrayBuffer>} buffer
 * @returns {Promise<ArrayBuffer>}
 */
export function inflate(buffer) {
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/**
 * @param {About} about
 * @param {ArrayBuffer} buffer
 * @returns {Layer}
 */
export function unpack(about, buffer) {
  /** @param {string} name */
  const array = (name) => {
    const [offset, count, type] = about.arrays[name];
    return new TYPES[type](buffer, offset, count);
  };
  /** @param {string} name @param {number} count */
  const columns = (name, count) => {
    if (!about.arrays[name]) return [];
    const all = array(name);
    const rows = all.length / count;
    return Array.from({ length: count }, (_, i) => all.subarray(i * rows, (i + 1) * rows));
  };
  const [x, y] = columns("points", 2);
  const boxes = { box: "boxes", mask: "boxes", arrow: "end", point: "", grid: "" };
  return {
    ...about,
    on: true,
    shown: new Uint8Array(about.kind === "grid" ? 1 : about.rows).fill(1),
    counts: new Uint32Array(about.groups.length),
    groupOf: about.kind === "grid" ? new Uint8Array(1) : /** @type {Uint8Array} */ (array("group")),
    fields: (about.fields ?? []).map((field) => ({ ...field, values: array(`field ${field.name}`) })),
    box: about.kind === "point" ? [x, y, x, y] : columns(boxes[about.kind], 4),
    start: columns("start", 4),
    cells: columns("cells", 2),
    masks: about.grids ? unpackMasks(about.grids, array("masks")) : [],
  };
}

/**
 * Each mask's size and values; a bool mask travels as bits.
 * @param {[number, number, boolean][]} grids
 * @param {Numbers} bytes
 * @returns {Mask[]}
 */
export function unpackMasks(grids, bytes) {
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

/**
 * @param {Layer} layer
 * @param {number} row
 */
export function colorOf(layer, row) {
  return layer.colors ? layer.colors[row] : layer.groups[layer.groupOf[row]].color;
}
