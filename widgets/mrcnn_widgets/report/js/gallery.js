// @ts-check
// The gallery: a search, what would narrow it down, and crops of the cases that it finds.

import { make } from "../../viewer/js/dom.js";
import { caseAddress, casesFound, galleryAddress } from "./cases.js";
import { drawCrop } from "./crops.js";
import { parseSearch, printSearch } from "./search.js";

/**
 * @typedef {import("./cases.js").Case} Case
 * @typedef {import("./search.js").Token} Token
 *
 * What the pages of a data set share.
 * @typedef {object} Dataset
 * @property {Case[]} cases
 * @property {import("./crops.js").Photos} photos
 * @property {Record<string, string>} colors of a box, by what a case is
 * @property {Record<string, string>} causes what became of a missed object, by its cause
 * @property {(one: Case, query: string) => string | null} stagesOf address of a case's stages
 */

const PORTION = 60; // crops that are added at once
const CROP = 240; // pixels of a crop's side
const NARROWING = ["is", "cause", "kind", "class", "level"];
const MOST_NAMES = 8; // of a key that would narrow the search down

const SEARCH_HELP =
  "is:missed · cause:nms · kind:background · class:person · size:<32 · score:>0.3 · photo:name.jpg · " +
  "a word of a class or photo. The key ? lists all.";

/** What became of a case, in words. @param {Case} one @param {Dataset} dataset */
export function outcomeOf({ item }, { causes }) {
  if (item.is === "found") return `found ${item.score?.toFixed(2) ?? ""}`;
  const kind = item.kind ? ` (${item.kind})` : "";
  if (item.is === "missed") return (causes[String(item.cause)] ?? "missed") + kind;
  return `wrong ${Number(item.score).toFixed(2)}${kind}`;
}

/** @param {number} count @param {string} noun */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

export class Gallery {
  /** @param {HTMLElement} root @param {Dataset} dataset */
  constructor(root, dataset) {
    this.dataset = dataset;
    this.root = root;
    make("a", "", root, { href: "#/" }).textContent = "← summary";
    make("h1", "", root).textContent = "Cases";
    const form = make("form", "search", this.root, { role: "search" });
    const label = make("label", "", form);
    label.textContent = "Search ";
    this.input = make("input", "", label, { type: "search", spellcheck: "false", autocomplete: "off", enterkeyhint: "search" });
    make("p", "note", form).textContent = SEARCH_HELP;
    this.tokens = make("p", "tokens", this.root);
    this.problems = make("p", "problems", this.root, { role: "alert" });
    this.count = make("p", "", this.root, { role: "status" });
    this.narrower = make("div", "narrower", this.root);
    this.list = make("ul", "cases", this.root);
    this.more = make("button", "", this.root, { type: "button" });
    this.more.addEventListener("click", () => this.add());
    form.addEventListener("submit", (event) => event.preventDefault());
    this.input.addEventListener("input", () => {
      // Letters that are typed make no steps to go back through.
      history.replaceState(null, "", galleryAddress(this.input.value));
      this.find(this.input.value);
    });
    this.seen = new IntersectionObserver((entries) => this.draw(entries), { rootMargin: "300px" });
    /** @type {WeakMap<Element, Case>} */
    this.shown = new WeakMap();
  }

  /** Shows what a search finds. @param {string} query */
  show(query) {
    if (query === this.query) return;
    this.input.value = query;
    this.find(query);
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** @param {string} query */
  find(query) {
    const { tokens, problems } = parseSearch(query);
    this.query = query;
    this.found = casesFound(this.dataset.cases, tokens);
    this.problems.textContent = problems.join(" · ");
    const all = counted(this.dataset.cases.length, "case");
    this.count.textContent = tokens.length ? `${this.found.length.toLocaleString("en")} of ${all}` : all;
    this.showTokens(tokens);
    this.showNarrower(tokens);
    this.seen.disconnect();
    this.list.replaceChildren();
    this.add();
  }

  /** @param {Token[]} tokens */
  showTokens(tokens) {
    this.tokens.replaceChildren();
    for (const token of tokens) {
      const others = tokens.filter((other) => other !== token);
      const text = printSearch([token]);
      const link = make("a", "token", this.tokens, {
        href: galleryAddress(printSearch(others)),
        "aria-label": `remove ${text}`,
      });
      link.textContent = `${text} ×`;
    }
  }

  /** Links that add a token, and how many cases each would leave. @param {Token[]} tokens */
  showNarrower(tokens) {
    this.narrower.replaceChildren();
    for (const key of NARROWING) {
      const counts = countNames(this.found ?? [], key);
      if (counts.length < 2) continue;
      const line = make("p", "", this.narrower);
      make("span", "key", line).textContent = `${key} `;
      for (const [value, count] of counts.slice(0, MOST_NAMES)) {
        const others = tokens.filter((other) => other.key !== key || other.not);
        const token = { key, operator: "", value, not: false };
        const link = make("a", "token", line, { href: galleryAddress(printSearch([...others, token])) });
        link.textContent = value;
        make("span", "count", link).textContent = ` ${count.toLocaleString("en")}`;
      }
      if (counts.length > MOST_NAMES) line.append(` and ${counts.length - MOST_NAMES} more`);
    }
  }

  /** Adds the next portion of crops. */
  add() {
    const [found, from] = [this.found ?? [], this.list.childElementCount];
    for (const one of found.slice(from, from + PORTION)) this.addCase(one);
    const left = found.length - this.list.childElementCount;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(left, PORTION)} more of ${left.toLocaleString("en")}`;
    if (from > 0) this.list.children[from]?.querySelector("a")?.focus();
  }

  /** @param {Case} one */
  addCase(one) {
    const link = make("a", "", make("li", "", this.list), { href: caseAddress(one, this.query ?? "") });
    if (one.photo.picture) {
      const canvas = make("canvas", "crop", link, { width: String(CROP), height: String(CROP), "aria-hidden": "true" });
      this.shown.set(canvas, one);
      this.seen.observe(canvas);
    } else {
      make("span", "crop", link).textContent = "no picture";
    }
    make("b", "", link).textContent = String(one.item.class);
    make("span", one.item.is === "found" ? "" : "bad", link).textContent = outcomeOf(one, this.dataset);
    make("span", "note", link).textContent = one.photo.name;
  }

  /** @param {IntersectionObserverEntry[]} entries */
  draw(entries) {
    for (const { target, isIntersecting } of entries) {
      const one = isIntersecting && this.shown.get(target);
      if (!one) continue;
      this.seen.unobserve(target);
      const color = this.dataset.colors[String(one.item.is)];
      this.dataset.photos.bitmap(one.photo.id).then((bitmap) =>
        drawCrop(/** @type {HTMLCanvasElement} */ (target), bitmap, one, color));
    }
  }
}

/**
 * How many cases have each value of a key, the most frequent first.
 * @param {Case[]} cases @param {string} key
 * @returns {[string, number][]}
 */
export function countNames(cases, key) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { item } of cases) {
    const value = item[key];
    if (value) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}
