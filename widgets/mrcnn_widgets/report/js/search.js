// @ts-check
// The search of the gallery, such as `is:missed cause:nms size:<32 -class:"traffic light"`.
//
// A token is a key and a value; what has blanks stands in quotes; a minus turns a token around.
// Values of one key that is text are alternatives, all else has to hold. A text is compared as a
// whole; a word without a key is looked for within the names of class and photo.

/**
 * @typedef {object} Token
 * @property {string} key of a word without one: ""
 * @property {string} operator of a number: "<", "<=", ">", ">=" or "=", else ""
 * @property {string} value
 * @property {boolean} not
 *
 * @typedef {Record<string, string | string[] | number | null>} Item a value for each key, or several
 */

/** @type {Record<string, "text" | "number">} */
export const SEARCH_KEYS = {
  is: "text", cause: "text", kind: "text", class: "text", photo: "text", stage: "text",
  level: "text", border: "text", shape: "text", suspected: "text", detected: "text", past: "text", traced: "text",
  size: "number", side: "number", aspect: "number", crowding: "number", score: "number",
};

const WORD = /(-?)(?:([a-z]+):)?(?:"((?:[^"\\]|\\.)*)"?|([^\s"]\S*)|)/gs;
const BOUND = /^(<=|>=|<|>|=|)(-?(?:\d+\.?\d*|\.\d+))$/;

/**
 * Reads a search.
 * @param {string} query
 * @returns {{ tokens: Token[], problems: string[] }} with what could not be read, in words
 */
export function parseSearch(query) {
  /** @type {Token[]} */
  const tokens = [];
  const problems = [];
  for (const [text, minus, key = "", quoted, bare = ""] of query.matchAll(WORD)) {
    if (!text) continue;
    const not = minus === "-";
    const value = quoted?.replaceAll(/\\(.)/gs, "$1") ?? bare;
    const bound = BOUND.exec(value);
    if (key && !Object.hasOwn(SEARCH_KEYS, key)) {
      problems.push(`${text}: expected one of ${Object.keys(SEARCH_KEYS).join(", ")}`);
    } else if (!value) {
      problems.push(`${text}: expected a value after it`);
    } else if (SEARCH_KEYS[key] !== "number") {
      tokens.push({ key, operator: "", value, not });
    } else if (bound) {
      tokens.push({ key, operator: bound[1] || "=", value: bound[2], not });
    } else {
      problems.push(`${text}: expected a number, such as ${key}:<32`);
    }
  }
  return { tokens, problems };
}

/**
 * Writes a search that `parseSearch` reads as these tokens.
 * @param {Token[]} tokens
 */
export function printSearch(tokens) {
  return tokens.map(printToken).join(" ");
}

/** @param {Token} token */
export function printToken({ key, operator, value, not }) {
  const plain = /^[^\s"\\:-][^\s"\\:]*$/.test(value);
  const quoted = plain ? value : `"${value.replaceAll(/["\\]/g, "\\$&")}"`;
  return (not ? "-" : "") + (key && `${key}:`) + (operator ? operator + value : quoted);
}

/**
 * Whether a search finds an item.
 * @param {Token[]} tokens @param {Item} item
 */
export function finds(tokens, item) {
  return tokens.every((token) =>
    token.not
      ? !holds(token, item)
      : tokens.some((other) => isAlternative(token, other) && holds(other, item)));
}

/** @param {Token} token @param {Token} other */
function isAlternative(token, other) {
  return token === other || (!other.not && other.key === token.key && SEARCH_KEYS[token.key] === "text");
}

/** @param {Token} token @param {Item} item */
function holds({ key, operator, value }, item) {
  const found = item[key];
  if (operator) return typeof found === "number" && compare(found, operator, Number(value));
  if (key) return [found].flat().some((one) => lower(one) === lower(value));
  return [item.class, item.photo].some((place) => lower(place).includes(lower(value)));
}

/** @param {number} found @param {string} operator @param {number} bound */
function compare(found, operator, bound) {
  if (operator === "=") return found === bound;
  if (operator.endsWith("=") && found === bound) return true;
  return operator.startsWith("<") ? found < bound : found > bound;
}

/** @param {unknown} value */
function lower(value) {
  return String(value ?? "").toLowerCase();
}
