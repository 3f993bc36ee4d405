// @ts-check
// What is said about a row, in words and numbers.

/** @typedef {import("./picking.js").Pick} Pick */

/**
 * Name and value of what there is to say about a row.
 * @param {Pick} pick
 * @returns {[string, string][]}
 */
export function linesOf({ layer, row }) {
  /** @type {[string, string][]} */
  const lines = layer.fields.map(({ name, names, values }) => [
    name,
    names ? names[values[row]] : number(values[row]),
  ]);
  const group = layer.groups[layer.groupOf[row]].text;
  // Rows are often grouped by one of their fields: its line says it all.
  const told = lines.some(([, value], i) => layer.fields[i].names && value === group);
  if (layer.groups.length > 1 && !told) lines.unshift(["group", group]);
  const [x1, y1, x2, y2] = layer.box.map((column) => column[row]);
  if (layer.kind === "point") {
    lines.push(["x, y", `${x1.toFixed(1)}, ${y1.toFixed(1)}`]);
  } else {
    lines.push(["box", [x1, y1, x2, y2].map((value) => Math.round(value)).join(", ")]);
    lines.push(["size", `${number(x2 - x1)} × ${number(y2 - y1)}`]);
  }
  return lines;
}

/**
 * A row in one line.
 * @param {Pick} pick
 */
export function describe(pick) {
  const lines = linesOf(pick).map(([name, value]) => `${name} ${value}`);
  return [`${pick.layer.name} #${pick.row}`, ...lines].join(" · ");
}

/**
 * A number with about three digits that count; whole numbers in full.
 * @param {number} value
 */
export function number(value) {
  if (Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 0.001 ? value.toFixed(3) : value.toExponential(1);
}

/**
 * A zoom factor for the button that resets it.
 * @param {number} k
 */
export function times(k) {
  return k < 9.95 ? `${+k.toFixed(1)}×` : `${Math.round(k)}×`;
}
