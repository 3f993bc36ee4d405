import assert from "node:assert/strict";
import { test } from "node:test";

import { View, deviceBox, frameOf } from "../../../widgets/mrcnn_widgets/viewer/js/view.js";
import { random } from "./scene.mjs";

/** A photo of 640 × 480 on a stage of half its size. */
function view(dpr = 1) {
  const made = new View(() => {});
  made.resize(320, 240, dpr);
  made.open({ width: 640, height: 480 });
  return made;
}

const near = (found, expected) =>
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-6, `${found}`));

test("at first the whole photo fills the stage", () => {
  const t = view(2).transform();
  assert.deepEqual(t, { s: 1, w: 640, h: 480, x: 0, y: 0 });
  near(view().toPhoto([0, 0]), [0, 0]);
  near(view().toPhoto([320, 240]), [640, 480]);
});

test("a point of the photo is where the transform puts it", () => {
  const next = random(1);
  for (let i = 0; i < 200; i++) {
    const v = view(1 + next());
    v.moveTo(640 * next(), 480 * next(), 1 + 20 * next());
    const { s, x, y } = v.transform();
    const at = [640 * next(), 480 * next()];
    near(v.toPhoto([(at[0] * s + x) / v.dpr, (at[1] * s + y) / v.dpr]), at);
  }
});

test("zooming keeps the point under the cursor", () => {
  const v = view();
  v.moveTo(320, 240, 3);
  const before = v.toPhoto([170, 110]);
  v.zoomAt([170, 110], 1.7);
  near(v.toPhoto([170, 110]), before);
  assert.equal(v.k, 3 * 1.7);
});

test("the photo never leaves the stage, nor is it smaller", () => {
  const next = random(2);
  const v = view();
  for (let i = 0; i < 300; i++) {
    v.zoomAt([320 * next(), 240 * next()], 0.2 + 2 * next());
    v.panBy(2000 * (next() - 0.5), 2000 * (next() - 0.5));
    const [left, top] = v.toPhoto([0, 0]);
    const [right, bottom] = v.toPhoto([320, 240]);
    assert.ok(v.k >= 1 && left > -1e-6 && top > -1e-6 && right < 640 + 1e-6 && bottom < 480 + 1e-6);
  }
});

test("a pixel of the photo gets at most 64 of the screen", () => {
  const v = view();
  for (let i = 0; i < 30; i++) v.zoomBy(2);
  assert.equal(v.transform().s, 64);
});

test("dragging moves the photo along with the hand", () => {
  const v = view();
  v.moveTo(320, 240, 4);
  const held = v.toPhoto([100, 100]);
  v.panBy(12, -7);
  near(v.toPhoto([112, 93]), held);
});

test("a part of the photo is shown whole, in the middle", () => {
  const v = view();
  v.show([200, 100, 300, 150]);
  near([v.cx, v.cy, v.k], [250, 125, 6.4]);
  v.show(null);
  near([v.cx, v.cy, v.k], [320, 240, 1]);
});

test("a photo that is a mere line lies on a stage that can be seen", () => {
  const frame = frameOf({ width: 1, height: 6000 });
  assert.deepEqual(frame, { width: 500, height: 6000 });
  const v = new View(() => {});
  v.resize(50, 600, 1);
  v.open({ width: 1, height: 6000 });
  assert.deepEqual(v.transform(), { s: 0.1, w: 50, h: 600, x: 24.95, y: 0 });
  v.zoomAt([25, 590], 1e9);
  assert.equal(v.transform().s, 64);
  near([v.cx], [0.5]);
  near([v.toPhoto([25, 600])[1]], [5900.15625]);
  assert.deepEqual(frameOf({ width: 640, height: 480 }), { width: 640, height: 480 });
});

test("who draws is told of each move", () => {
  let moves = 0;
  const v = new View(() => moves++);
  v.resize(320, 240, 1);
  v.open({ width: 640, height: 480 });
  v.panBy(1, 1);
  v.zoomBy(2);
  v.reset();
  assert.equal(moves, 3);
});

test("boxes are cut beside the canvas", () => {
  const box = [[10], [-1e6], [1e6], [20]].map((column) => Float32Array.from(column));
  assert.deepEqual(deviceBox(box, 0, { s: 2, x: 5, y: 0, w: 100, h: 50 }), [25, -40, 140, 40]);
});
