// @ts-check
// Colors as numbers.

/**
 * @param {string} color `#rrggbb`
 * @returns {[number, number, number]} red, green and blue, 0…255
 */
export function rgb(color) {
  const part = (/** @type {number} */ at) => Number.parseInt(color.slice(at, at + 2), 16);
  return [part(1), part(3), part(5)];
}

/**
 * Black or white, whichever reads better on a color, as `palette.ink_on` has it (Rec. 601).
 * @param {string} color
 */
export function inkOn(color) {
  const [r, g, b] = rgb(color);
  return 0.299 * r + 0.587 * g + 0.114 * b > 127.5 ? "#000" : "#fff";
}
