// @ts-check
// Lists beside the viewer, such as the verdicts: they keep their arrow keys.

/**
 * JupyterLab's command mode takes the keys of a list, unless the list says not to. ipywidgets has no
 * way to say so from Python but a class: `mrv-keys`.
 * @param {Document} page
 * @param {AbortSignal} signal ends it
 */
export function keepKeysOfLists(page, signal) {
  page.addEventListener("focusin", keepKeys, { signal });
}

/** @param {FocusEvent} event */
function keepKeys({ target }) {
  if (target instanceof HTMLSelectElement && target.closest(".mrv-keys"))
    target.setAttribute("data-lm-suppress-shortcuts", "true");
}
