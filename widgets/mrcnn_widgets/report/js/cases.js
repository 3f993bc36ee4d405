// @ts-check
// The cases of a data set: annotated objects, and detections that found none.

import { finds } from "./search.js";

/**
 * @typedef {[number, number, number, number]} Corners in pixels of the photo
 *
 * A photo, and the blocks of its picture, of what lies on it, and of its trace, if there are any.
 * @typedef {object} CasePhoto
 * @property {number} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {string} [picture]
 * @property {string} [packed]
 * @property {string} [traced]
 *
 * What Python packed: a column for each key, texts by their place in a list of names.
 * @typedef {object} CaseTable
 * @property {CasePhoto[]} photos
 * @property {Record<string, { names: (string | string[] | null)[], index: number[] }>} texts
 * @property {Record<string, (number | null)[]>} numbers
 * @property {number[]} photo of each case, its place in `photos`
 * @property {number[]} row of each case: of its photo's objects or detections
 * @property {Corners[]} box
 *
 * @typedef {object} Case
 * @property {import("./search.js").Item} item what the search looks at
 * @property {CasePhoto} photo
 * @property {number} row
 * @property {Corners} box
 */

/**
 * Makes cases of the packed table; they stay in its order, the worst first.
 * @param {CaseTable} table
 * @returns {Case[]}
 */
export function unpackCases({ photos, texts, numbers, photo, row, box }) {
  return photo.map((place, i) => {
    /** @type {import("./search.js").Item} */
    const item = { photo: photos[place].name, traced: photos[place].traced ? "yes" : "no" };
    for (const [key, { names, index }] of Object.entries(texts)) item[key] = names[index[i]];
    for (const [key, values] of Object.entries(numbers)) item[key] = values[i];
    return { item, photo: photos[place], row: row[i], box: box[i] };
  });
}

/** Whether a case is a detection; else it is an object. @param {Case} one */
export function isDetection({ item }) {
  return item.is === "wrong";
}

/** @param {Case[]} cases @param {import("./search.js").Token[]} tokens */
export function casesFound(cases, tokens) {
  return cases.filter(({ item }) => finds(tokens, item));
}

/** Where a case is shown, within a search. @param {Case} one @param {string} query */
export function caseAddress(one, query) {
  const place = `${isDetection(one) ? "detection" : "object"}=${one.row}`;
  return `#/case/${one.photo.id}?${place}${query && `&q=${encodeURIComponent(query)}`}`;
}

/** @param {string} query */
export function galleryAddress(query) {
  return query ? `#/gallery?q=${encodeURIComponent(query)}` : "#/gallery";
}

/**
 * The case of an address.
 * @param {Case[]} cases @param {number} imageId @param {URLSearchParams} parameters
 * @returns {Case | undefined}
 */
export function caseAt(cases, imageId, parameters) {
  const asked = parameters.get("detection") ?? parameters.get("object");
  return cases.find((one) =>
    one.photo.id === imageId &&
    String(one.row) === asked &&
    isDetection(one) === parameters.has("detection"));
}

/**
 * The cases before and after one among those found. One that is not among them has neither.
 * @param {Case[]} found @param {Case} one
 */
export function neighbors(found, one) {
  const place = found.indexOf(one);
  return { place, before: place > 0 ? found[place - 1] : null, after: (place >= 0 && found[place + 1]) || null };
}
