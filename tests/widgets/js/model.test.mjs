import assert from "node:assert/strict";
import { test } from "node:test";

import { PlainModel, Subscriptions } from "../../../widgets/mrcnn_widgets/viewer/js/model.js";

test("buffers come back from text, the rest stays", () => {
  const model = new PlainModel({ _photo: "AQID", title: "A" });
  assert.deepEqual([...new Uint8Array(model.get("_photo").buffer)], [1, 2, 3]);
  assert.deepEqual([model.get("title"), model.get("hidden")], ["A", []]);
});

test("listeners hear of their trait, once, until all are let go", () => {
  const model = new PlainModel({});
  const subscriptions = new Subscriptions(model);
  const heard = [];
  subscriptions.watch(["title", "view"], () => heard.push("first"));
  subscriptions.watch(["title"], () => heard.push("second"));
  model.set("title", "A");
  model.set("hidden", []);
  model.set("view", null);
  assert.deepEqual(heard, ["first", "first"]);
  subscriptions.end();
  model.set("title", "B");
  assert.equal(heard.length, 2);
});
