import assert from "node:assert/strict";
import { test } from "node:test";

import { candidatesAt, lookUp, same } from "../../../widgets/mrcnn_widgets/viewer/js/picking.js";
import { boxLayer, mask, random } from "./scene.mjs";

const rowsAt = (layers, point, pixel = 0) =>
  candidatesAt(layers, point, pixel).map(({ layer, row }) => [layer.name, row]);

test("the smallest comes first, of equals the most central", () => {
  const rows = [[0, 0, 100, 100], [40, 40, 60, 60], [38, 40, 58, 60], [80, 80, 90, 90]];
  assert.deepEqual(rowsAt([boxLayer(rows)], [50, 50]), [["boxes", 1], ["boxes", 2], ["boxes", 0]]);
});

test("what is found is what a look at each box finds", () => {
  const next = random(4);
  const rows = Array.from({ length: 2000 }, () => {
    const [x, y] = [100 * next(), 100 * next()];
    return [x, y, x + 30 * next(), y + 30 * next()];
  });
  const layer = boxLayer(rows);
  const [x1, y1, x2, y2] = layer.box;
  for (let i = 0; i < 50; i++) {
    const [x, y] = [100 * next(), 100 * next()];
    const inside = rows.flatMap((_, k) => (x >= x1[k] && x <= x2[k] && y >= y1[k] && y <= y2[k] ? [k] : []));
    const found = candidatesAt([layer], [x, y], 0);
    assert.deepEqual(found.map(({ row }) => row).toSorted((a, b) => a - b), inside);
    assert.ok(found.every(({ area }, k) => k === 0 || area >= found[k - 1].area));
  }
});

test("a pixel or four beside an edge still hit a box, beside a mask nothing does", () => {
  const masks = boxLayer([[10, 10, 20, 20]], { kind: "mask", name: "masks", masks: [mask("##", "##")] });
  const layers = [boxLayer([[10, 10, 20, 20]]), masks];
  assert.deepEqual(rowsAt(layers, [15, 15], 0.5), [["boxes", 0], ["masks", 0]]);
  assert.deepEqual(rowsAt(layers, [21.9, 15], 0.5), [["boxes", 0]]);
  assert.deepEqual(rowsAt(layers, [22.1, 15], 0.5), []);
});

test("a mask is hit where it is set", () => {
  const masks = boxLayer([[0, 0, 20, 20]], { kind: "mask", masks: [mask("#.", ".#")] });
  assert.equal(rowsAt([masks], [5, 5]).length, 1);
  assert.equal(rowsAt([masks], [15, 5]).length, 0);
});

test("a point is hit within its disk and a little around", () => {
  const points = boxLayer([[10, 10, 10, 10]], { kind: "point", radius: 3 });
  assert.equal(rowsAt([points], [14.9, 10], 1).length, 1);
  assert.equal(rowsAt([points], [15.1, 10], 1).length, 0);
});

test("what is hidden or not pickable is not hit", () => {
  const rows = [[0, 0, 9, 9], [0, 0, 9, 9]];
  assert.deepEqual(rowsAt([boxLayer(rows, { on: false }), boxLayer(rows, { pickable: false })], [5, 5]), []);
  assert.deepEqual(rowsAt([boxLayer(rows, { shown: Uint8Array.of(0, 1) })], [5, 5]), [["boxes", 1]]);
});

test("a pick is looked up by name and row", () => {
  const layers = [boxLayer([[0, 0, 9, 9]])];
  assert.equal(lookUp(layers, ["boxes", 0])?.layer, layers[0]);
  assert.deepEqual([["boxes", 1], ["others", 0], null].map((pick) => lookUp(layers, pick)), [null, null, null]);
});

test("the same row of a layer that was sent again is the same", () => {
  const [before, after] = [boxLayer([[0, 0, 9, 9]]), boxLayer([[1, 1, 9, 9]])];
  assert.ok(same({ layer: before, row: 0 }, { layer: after, row: 0 }));
  assert.ok(!same({ layer: before, row: 0 }, { layer: after, row: 1 }));
  assert.ok(same(null, null));
  assert.ok(!same(null, { layer: after, row: 0 }));
});
