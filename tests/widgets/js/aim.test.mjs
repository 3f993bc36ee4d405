import assert from "node:assert/strict";
import { test } from "node:test";

import { Aim } from "../../../widgets/mrcnn_widgets/viewer/js/aim.js";
import { View } from "../../../widgets/mrcnn_widgets/viewer/js/view.js";
import { boxLayer } from "./scene.mjs";

/** Three boxes inside each other, and what was heard of them. */
function aim() {
  const view = new View(() => {});
  view.resize(100, 100, 1);
  view.open({ width: 100, height: 100 });
  const heard = [];
  const tell = (what) => () => heard.push(what);
  const made = new Aim(view, { hovered: tell("hovered"), moved: tell("moved"), keyed: tell("keyed") });
  made.replace([boxLayer([[0, 0, 100, 100], [20, 20, 80, 80], [40, 40, 60, 60]])]);
  return [made, heard];
}

test("a pointer shows the smallest at once, and is told of moves on the same row", () => {
  const [it, heard] = aim();
  it.pointer = [50, 50];
  it.probe();
  it.pointer = [51, 50];
  it.probe();
  assert.equal(it.candidate.row, 2);
  assert.deepEqual(heard, ["hovered", "moved"]);
});

test("without a pointer the middle points, and the first key finds the first row", () => {
  const [it] = aim();
  const rows = [1, 1, 1, 1].map((direction) => it.cycle(direction) && it.candidate.row);
  assert.deepEqual(rows, [2, 1, 0, false]);
  assert.ok(it.crosshair);
});

test("backwards ends before the first", () => {
  const [it] = aim();
  assert.equal(it.cycle(-1), false);
  it.cycle(1);
  it.cycle(1);
  assert.ok(it.cycle(-1));
  assert.equal(it.candidate.row, 2);
  assert.equal(it.cycle(-1), false);
});

test("a move by key looks up what is there now, and waits for the key that asks", () => {
  const [it, heard] = aim();
  it.follow();
  assert.equal(it.candidate, null);
  assert.equal(it.candidates.length, 3);
  assert.deepEqual(heard, ["moved", "keyed"]);
});

test("the crosshair goes once, with all that it pointed at", () => {
  const [it, heard] = aim();
  it.cycle(1);
  heard.length = 0;
  it.dropCrosshair();
  it.dropCrosshair();
  assert.deepEqual(heard, ["hovered", "keyed"]);
  assert.equal(it.candidate, null);
});
