import assert from "node:assert/strict";
import { test } from "node:test";

import { readRoute, wholeIn, writeRoute } from "../../../widgets/mrcnn_widgets/report/js/route.js";

test("an address is read as it was written", () => {
  const hash = writeRoute("case", 12, { stage: 4, q: 'is:missed "a&b"', row: null, step: "" });
  const { page, id, params } = readRoute(hash);
  assert.deepEqual([page, id, Object.fromEntries(params)], ["case", "12", { stage: "4", q: 'is:missed "a&b"' }]);
});

test("no address is the summary", () => {
  for (const hash of ["", "#", "#/"]) assert.equal(readRoute(hash).page, "");
  assert.equal(writeRoute("", "", {}), "#/");
  assert.equal(writeRoute("case", 0, {}), "#/case/0");
});

test("a number that is none is not there", () => {
  const params = new URLSearchParams("a=3&b=-1&c=x&d=&e=1e9&f=0&g=99999999999");
  assert.deepEqual([..."abcdefgh"].map((name) => wholeIn(params, name)), [3, null, null, null, null, 0, null, null]);
  assert.equal(wholeIn(params, "f", 1), null);
});
