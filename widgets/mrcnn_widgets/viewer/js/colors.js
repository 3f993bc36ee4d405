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
 * Black or white, whichever contrasts more with a color, as `palette.ink_on` has it (WCAG 2.2).
 * @param {string} color
 */
export function inkOn(color) {
  const [r, g, b] = rgb(color).map((part) => {
    const p = part / 255;
    return p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return luminance > Math.sqrt(1.05 * 0.05) - 0.05 ? "#000" : "#fff";
}
