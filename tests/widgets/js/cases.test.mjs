import assert from "node:assert/strict";
import { test } from "node:test";

import { caseAddress, caseAt, casesFound, galleryAddress, neighbors, unpackCases } from "../../../widgets/mrcnn_widgets/report/js/cases.js";
import { parseSearch } from "../../../widgets/mrcnn_widgets/report/js/search.js";

const photos = [
  { id: 7, name: "a.jpg", width: 100, height: 50 },
  { id: 9, name: "b.jpg", width: 100, height: 50 },
];
const cases = unpackCases({
  photos,
  texts: {
    is: { names: ["missed", "wrong"], index: [0, 1, 0] },
    cause: { names: ["nms", null], index: [0, 1, 0] },
  },
  numbers: { score: [null, 0.9, 0.2] },
  photo: [1, 0, 0],
  row: [3, 3, 1],
  box: [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]],
});

test("a case knows its photo, its row and what is searched", () => {
  assert.deepEqual(cases[1], {
    item: { is: "wrong", cause: null, score: 0.9, photo: "a.jpg", traced: "no" }, photo: photos[0], row: 3, box: [0, 0, 2, 2],
  });
});

function found(query) {
  return casesFound(cases, parseSearch(query).tokens).map(({ row }) => row);
}

test("what is found stays in order", () => {
  assert.deepEqual(found("is:missed"), [3, 1]);
  assert.deepEqual(found("photo:a.jpg"), [3, 1]);
  assert.deepEqual(found("score:>0.5"), [3]);
});

test("an address leads to the case it was made of; an object is no detection", () => {
  for (const one of cases) {
    const [path, parameters] = caseAddress(one, 'class:"a & b"').split("?");
    assert.equal(path, `#/case/${one.photo.id}`);
    assert.equal(new URLSearchParams(parameters).get("q"), 'class:"a & b"');
    assert.equal(caseAt(cases, one.photo.id, new URLSearchParams(parameters)), one);
  }
  assert.equal(caseAt(cases, 7, new URLSearchParams("object=3")), undefined);
  assert.equal(caseAt(cases, 7, new URLSearchParams("")), undefined);
  assert.equal(caseAddress(cases[0], ""), "#/case/9?object=3");
  assert.equal(galleryAddress("is:missed size:<32"), "#/gallery?q=is%3Amissed%20size%3A%3C32");
  assert.equal(galleryAddress(""), "#/gallery");
});

test("neighbors are those within what was found", () => {
  const two = [cases[0], cases[2]];
  assert.deepEqual(neighbors(two, cases[0]), { place: 0, before: null, after: cases[2] });
  assert.deepEqual(neighbors(two, cases[2]), { place: 1, before: cases[0], after: null });
  assert.deepEqual(neighbors(two, cases[1]), { place: -1, before: null, after: null });
});
