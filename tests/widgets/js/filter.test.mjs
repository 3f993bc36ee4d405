import assert from "node:assert/strict";
import { test } from "node:test";

import { filter, inView, onlyThis, toggled } from "../../../widgets/mrcnn_widgets/viewer/js/filter.js";
import { boxLayer, random } from "./scene.mjs";

const groups = ["a", "b"].map((name) => ({ name, text: name, color: "#000000", dash: "solid" }));

function three() {
  const fields = [{ name: "score", names: null, values: Float32Array.of(0.1, 0.7, NaN) }];
  return boxLayer([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]], { groups, groupOf: Uint8Array.of(0, 1, 1), fields });
}

function shown(hidden, thresholds) {
  const layer = three();
  filter(layer, new Set(hidden), thresholds);
  return { on: layer.on, shown: [...layer.shown], counts: [...layer.counts] };
}

test("all is shown at first", () => {
  assert.deepEqual(shown([], {}), { on: true, shown: [1, 1, 1], counts: [1, 2] });
});

test("a hidden group is still counted, a hidden layer is off", () => {
  assert.deepEqual(shown(["boxes/b"], {}), { on: true, shown: [1, 0, 0], counts: [1, 2] });
  assert.equal(shown(["boxes"], {}).on, false);
  assert.deepEqual(shown(["others", "others/a"], {}).shown, [1, 1, 1]);
});

test("a bound keeps the rows that lie on it, and no row without a value", () => {
  const bounds = [[0.7, null], [null, 0.1], [null, null]];
  const found = bounds.map((bound) => shown([], { boxes: { score: bound } }));
  assert.deepEqual(found[0], { on: true, shown: [0, 1, 0], counts: [0, 1] });
  assert.deepEqual(found[1].shown, [1, 0, 0]);
  assert.deepEqual(found[2].shown, [1, 1, 0]);
});

test("a bound on a field that the layer lacks is no bound", () => {
  assert.deepEqual(shown([], { boxes: { iou: [1, null] }, others: { score: [1, 1] } }).shown, [1, 1, 1]);
});

test("in view is what a look at each box finds", () => {
  const next = random(3);
  const rows = Array.from({ length: 20_000 }, () => {
    const [x, y] = [400 * next() - 100, 400 * next() - 100];
    return [x, y, x + 40 * next(), y + 40 * next()];
  });
  const layer = boxLayer(rows, { groups, groupOf: Uint8Array.from(rows, () => (next() < 0.5 ? 0 : 1)) });
  layer.shown = Uint8Array.from(rows, () => (next() < 0.8 ? 1 : 0));
  const t = { s: 2, x: -30, y: 40, w: 200, h: 100 };
  const work = inView(layer, t);
  let step = work.next();
  while (!step.done) step = work.next();
  const touches = (i) => {
    const [x1, y1, x2, y2] = layer.box.map((column, k) => column[i] * t.s + (k % 2 ? t.y : t.x));
    return x1 <= t.w && x2 >= 0 && y1 <= t.h && y2 >= 0;
  };
  const expected = [0, 1].map((g) =>
    rows.flatMap((_, i) => (layer.shown[i] && layer.groupOf[i] === g && touches(i) ? [i] : [])));
  assert.deepEqual(step.value, expected);
});

test("a click on a chip shows or hides", () => {
  assert.deepEqual(toggled(["x"], "boxes/a"), ["x", "boxes/a"]);
  assert.deepEqual(toggled(["x", "boxes/a"], "boxes/a"), ["x"]);
});

test("only this hides its siblings, and again shows them", () => {
  const keys = ["boxes", "boxes/a", "boxes/b", "boxes/c", "points", "points/a"];
  const alone = onlyThis(["points/a"], "boxes/a", keys);
  assert.deepEqual(alone, ["points/a", "boxes/b", "boxes/c"]);
  assert.deepEqual(onlyThis(alone, "boxes/a", keys), ["points/a"]);
  assert.deepEqual(onlyThis(["boxes/a"], "boxes/a", keys), ["boxes/b", "boxes/c"]);
  assert.deepEqual(onlyThis([], "points", keys), ["boxes"]);
});
