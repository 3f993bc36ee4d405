import assert from "node:assert/strict";
import { test } from "node:test";

import { unpackMasks } from "../../../widgets/mrcnn_widgets/viewer/js/layers.js";
import { inMask, maskPlace, traceEdges } from "../../../widgets/mrcnn_widgets/viewer/js/masks.js";
import { boxLayer, mask, random } from "./scene.mjs";

/** What a loop encloses: positive to the right of the walk, negative around a hole. */
function area(loop) {
  let sum = 0;
  for (let i = 0; i < loop.length; i += 2) {
    const [x1, y1] = [loop[i], loop[i + 1]];
    const [x2, y2] = [loop[(i + 2) % loop.length], loop[(i + 3) % loop.length]];
    sum += (x1 * y2 - x2 * y1) / 2;
  }
  return sum;
}

function length(loop) {
  let sum = 0;
  for (let i = 0; i < loop.length; i += 2) {
    sum += Math.abs(loop[i] - loop[(i + 2) % loop.length]) +
      Math.abs(loop[i + 1] - loop[(i + 3) % loop.length]);
  }
  return sum;
}

function randomMask(seed) {
  const next = random(seed);
  const line = () => Array.from({ length: 12 }, () => (next() < 0.5 ? "#" : ".")).join("");
  return mask(...Array.from({ length: 9 }, line));
}

test("a pixel has four corners", () => {
  assert.deepEqual(traceEdges(mask("...", ".#.")), [[1, 1, 2, 1, 2, 2, 1, 2]]);
});

test("pixels that touch at a corner have an outline each", () => {
  assert.equal(traceEdges(mask("#.", ".#")).length, 2);
});

test("a hole is walked around the other way", () => {
  assert.deepEqual(traceEdges(mask("###", "#.#", "###")).map(area), [9, -1]);
});

test("nothing has no outline", () => {
  assert.deepEqual(traceEdges(mask("...")), []);
});

test("outlines enclose the set pixels, and run between set and unset ones only", () => {
  for (let seed = 0; seed < 100; seed++) {
    const m = randomMask(seed);
    const at = (x, y) => x >= 0 && y >= 0 && x < m.width && y < m.height && m.values[y * m.width + x] > 0;
    let pixels = 0, edges = 0;
    for (let y = -1; y <= m.height; y++) {
      for (let x = -1; x <= m.width; x++) {
        pixels += at(x, y) ? 1 : 0;
        edges += (at(x, y) !== at(x + 1, y) ? 1 : 0) + (at(x, y) !== at(x, y + 1) ? 1 : 0);
      }
    }
    const loops = traceEdges(m);
    assert.equal(loops.reduce((sum, loop) => sum + area(loop), 0), pixels);
    assert.equal(loops.reduce((sum, loop) => sum + length(loop), 0), edges);
  }
});

test("a mask of dots has no outline", () => {
  const lines = Array.from({ length: 200 }, (_, i) => (i % 2 ? "#." : ".#").repeat(100));
  assert.equal(traceEdges(mask(...lines)), null);
});

test("masks come back from bits and bytes", () => {
  const bytes = Uint8Array.of(0b10110000, 7, 8, 0b01000000);
  const grids = [[2, 2, true], [1, 2, false], [1, 2, true]];
  assert.deepEqual(unpackMasks(grids, bytes).map(({ values }) => [...values]), [
    [255, 0, 255, 255],
    [7, 8],
    [0, 255],
  ]);
});

test("a point is in a mask where its cell is set", () => {
  const layer = boxLayer([[10, 20, 16, 24]], { kind: "mask", masks: [mask("#..", "..#")] });
  const found = [[10.5, 21], [13, 21], [15, 23], [9, 21], [15, 25]].map(([x, y]) => inMask(layer, 0, x, y));
  assert.deepEqual(found, [true, false, true, false, false]);
});

test("the last cell of a coarser grid may reach beyond the box", () => {
  const layer = boxLayer([[10, 20, 15, 24]], { kind: "mask", masks: [mask("#..", "..#")], step: 2 });
  assert.deepEqual(maskPlace(layer, 0, { s: 2, x: 1, y: 0, w: 0, h: 0 }), [21, 40, 12, 8]);
});
