import assert from "node:assert/strict";
import { test } from "node:test";

import { describe, linesOf, number, times } from "../../../widgets/mrcnn_widgets/viewer/js/text.js";
import { boxLayer } from "./scene.mjs";

test("numbers have three digits that count", () => {
  const said = [0, 65472, 0.12345, 12.345, 123.45, -0.5, 0.00012, NaN].map(number);
  assert.deepEqual(said, ["0", "65,472", "0.123", "12.3", "123", "-0.500", "1.2e-4", "–"]);
});

test("a zoom factor fits its button", () => {
  assert.deepEqual([1, 2.25, 9.94, 9.96, 31.7].map(times), ["1×", "2.3×", "9.9×", "10×", "32×"]);
});

test("a row says its fields, its box and its size", () => {
  const names = ["cat", "dog"];
  const fields = [
    { name: "score", names: null, values: Float32Array.of(0.5, 0.25) },
    { name: "class", names, values: Int32Array.of(1, 0) },
  ];
  const layer = boxLayer([[1, 2, 3.5, 4], [0, 0, 9, 9]], { fields });
  assert.deepEqual(linesOf({ layer, row: 0 }), [
    ["score", "0.500"],
    ["class", "dog"],
    ["box", "1, 2, 4, 4"],
    ["size", "2.500 × 2"],
  ]);
  assert.equal(describe({ layer, row: 1 }), "boxes #1 · score 0.250 · class cat · box 0, 0, 9, 9 · size 9 × 9");
});

test("a group is said where no field says it", () => {
  const groups = ["cat", "dog"].map((name) => ({ name, text: name, color: "#000000", dash: "solid" }));
  const fields = [{ name: "class", names: ["cat", "dog"], values: Int32Array.of(1, 1) }];
  const layer = boxLayer([[0, 0, 1, 1], [0, 0, 1, 1]], { groups, groupOf: Uint8Array.of(1, 0), fields });
  assert.deepEqual(linesOf({ layer, row: 0 })[0], ["class", "dog"]);
  assert.deepEqual(linesOf({ layer, row: 1 })[0], ["group", "cat"]);
});

test("a point has a place and no size", () => {
  const layer = boxLayer([[1.25, 2, 1.25, 2]], { kind: "point" });
  assert.deepEqual(linesOf({ layer, row: 0 }), [["x, y", "1.3, 2.0"]]);
});
