// @ts-check
// Where the page is: all of it stands in the address after `#`, so that a copied link and the back
// button lead to the same view.

/** @typedef {{ page: string, id: string, params: URLSearchParams }} Route */

/**
 * Reads what stands after `#`, such as `#/case/12?stage=4&object=3`.
 * @param {string} hash
 * @returns {Route}
 */
export function readRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", id = ""] = path.split("/");
  return { page, id, params: new URLSearchParams(query) };
}

/**
 * Writes an address that `readRoute` reads; what is empty is left out.
 * @param {string} page @param {string | number} id
 * @param {Record<string, string | number | null | undefined>} params
 */
export function writeRoute(page, id, params) {
  const path = ["#", page, id].filter((part) => part !== "").join("/");
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `${path}?${query}` : page ? path : "#/";
}

/**
 * A whole number of at least `least` in an address; null for anything else.
 * @param {URLSearchParams} params @param {string} name
 */
export function wholeIn(params, name, least = 0) {
  const text = params.get(name) ?? "";
  return /^\d{1,9}$/.test(text) && Number(text) >= least ? Number(text) : null;
}

/** Goes to an address; the back button does not return from a replaced one. @param {string} hash */
export function goTo(hash, replace = false) {
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
