// @ts-check
// A line to type elsewhere, with a button that copies it.

import { make } from "../../viewer/js/dom.js";

/** @param {HTMLElement} parent @param {string} text */
export function copyLine(parent, text) {
  const line = make("p", "copy", parent);
  const code = make("code", "", line);
  code.textContent = text;
  const button = make("button", "", line, { type: "button", "aria-label": `Copy ${text}` });
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // A browser that lets no page copy: the text is selected, a key away.
      getSelection()?.selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
}
