// @ts-check
// The data of the page: compressed blocks, unpacked when they are asked for.

import { inflate } from "../../viewer/js/layers.js";

/** @type {Map<string, DataView<ArrayBuffer>>} */
const packedBlocks = new Map();
/** @type {Map<string, Promise<any>>} */
const jsonBlocks = new Map();

/**
 * A block as it travels: zlib's bytes.
 * @param {string} name
 */
export function packedBlock(name) {
  const known = packedBlocks.get(name);
  if (known) return known;
  const text = atob(document.getElementById(name)?.textContent ?? "");
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  packedBlocks.set(name, view);
  return view;
}

/** The bytes of a block. @param {string} name */
export function blockBytes(name) {
  return inflate(packedBlock(name));
}

/**
 * The JSON of a block; it is unpacked once.
 * @param {string} name
 * @returns {Promise<any>}
 */
export function blockJson(name) {
  const known = jsonBlocks.get(name);
  if (known) return known;
  const read = blockBytes(name).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
  jsonBlocks.set(name, read);
  return read;
}
