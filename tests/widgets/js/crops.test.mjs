import assert from "node:assert/strict";
import { test } from "node:test";

import { cropAround, Photos } from "../../../widgets/mrcnn_widgets/report/js/crops.js";
import { random } from "./scene.mjs";

test("a box has a margin of a third of its longer side", () => {
  assert.deepEqual(cropAround([100, 100, 200, 150], { width: 640, height: 480 }), { x: 70, y: 45, side: 160 });
});

test("a crop of a tiny box shows where it is", () => {
  assert.deepEqual(cropAround([100, 100, 104, 104], { width: 640, height: 480 }), { x: 78, y: 78, side: 48 });
});

test("a box that fills the photo is shown whole, in the middle", () => {
  assert.deepEqual(cropAround([0, 0, 640, 480], { width: 640, height: 480 }), { x: 0, y: -80, side: 640 });
});

test("a crop holds its box and nothing beside the photo, where the photo is as large", () => {
  const next = random(2);
  for (let round = 0; round < 2000; round++) {
    const photo = { width: 20 + 600 * next(), height: 20 + 600 * next() };
    const [x, y] = [photo.width * next(), photo.height * next()];
    const box = [x, y, x + (photo.width - x) * next(), y + (photo.height - y) * next()];
    const crop = cropAround(box, photo);
    const near = 1e-9;
    assert.ok(crop.x <= box[0] + near && crop.x + crop.side >= box[2] - near);
    assert.ok(crop.y <= box[1] + near && crop.y + crop.side >= box[3] - near);
    if (crop.side < photo.width) assert.ok(crop.x >= -near && crop.x + crop.side <= photo.width + near);
    if (crop.side < photo.height) assert.ok(crop.y >= -near && crop.y + crop.side <= photo.height + near);
  }
});

test("a photo is unpacked once while it is in use, and again when it was let go", async () => {
  const read = [];
  globalThis.createImageBitmap = async (blob) => blob;
  const photos = new Photos(async (id) => (read.push(id), id));
  for (const id of [1, 2, 1]) assert.equal(await photos.bitmap(id), id);
  assert.deepEqual(read, [1, 2]);
  for (let id = 3; id < 26; id++) {
    await photos.bitmap(id);
    await photos.bitmap(1);
  }
  assert.equal(read.filter((id) => id === 1).length, 1);
  await photos.bitmap(2);
  assert.equal(read.filter((id) => id === 2).length, 2);
});
