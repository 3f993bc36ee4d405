// @ts-check
// Keys.

const PAN = new Map([
  ["ArrowLeft", [1, 0]],
  ["ArrowRight", [-1, 0]],
  ["ArrowUp", [0, 1]],
  ["ArrowDown", [0, -1]],
]);

export const HELP =
  "Arrow keys pan, plus and minus zoom, 0 shows the whole photo. Tab and Shift Tab go through " +
  "what lies under the pointer or the crosshair, Enter picks it, Escape lets go.";

/**
 * Listens to keys on the photo; those that mean nothing here are left to the page.
 * @param {HTMLElement} stage @param {AbortSignal} signal
 * @param {import("./view.js").View} view
 * @param {import("./aim.js").Aim} aim
 * @param {(pick: import("./picking.js").Pick | null, place: import("./view.js").Point | null) => void} choose
 * @param {() => boolean} picked whether a row is picked
 */
export function listenToKeys(stage, signal, view, aim, choose, picked) {
  /** @param {KeyboardEvent} event @returns {boolean} whether the key meant something */
  const act = ({ key, shiftKey }) => {
    const [x, y] = PAN.get(key) ?? [0, 0];
    const step = shiftKey ? 160 : 48;
    if (x || y) view.panBy(x * step, y * step);
    else if (key === "+" || key === "=") view.zoomBy(1.5);
    else if (key === "-" || key === "_") view.zoomBy(1 / 1.5);
    else if (key === "0") view.reset();
    else if (key === "Tab") return aim.cycle(shiftKey ? -1 : 1);
    else if (key === "Enter" || key === " ") {
      choose(aim.candidate, aim.crosshair ? view.middle : null);
      return true;
    } else if (key === "Escape") {
      if (!aim.candidate && !picked()) return false;
      aim.letGo();
      choose(null, null);
      return true;
    } else return false;
    aim.follow();
    return true;
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!act(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  stage.addEventListener("keydown", onKey, { signal });
}
