import assert from "node:assert/strict";
import { test } from "node:test";

import { finds, parseSearch, printSearch, SEARCH_KEYS } from "../../../widgets/mrcnn_widgets/report/js/search.js";
import { random } from "./scene.mjs";

const cup = {
  is: "missed", cause: "nms", kind: "another object", class: "cup", photo: "kitchen/1.jpg", stage: "detection",
  level: "P3", border: "no", size: 32, side: 40.5, aspect: 1, crowding: 2, score: null,
};

/** Whether a search finds the cup. */
function found(query, item = cup) {
  const { tokens, problems } = parseSearch(query);
  assert.deepEqual(problems, []);
  return finds(tokens, item);
}

test("a token is a key, a bound and a value", () => {
  assert.deepEqual(parseSearch('is:missed size:<32 -score:>=0.3 "a b" crowding:2').tokens, [
    { key: "is", operator: "", value: "missed", not: false },
    { key: "size", operator: "<", value: "32", not: false },
    { key: "score", operator: ">=", value: "0.3", not: true },
    { key: "", operator: "", value: "a b", not: false },
    { key: "crowding", operator: "=", value: "2", not: false },
  ]);
});

test("quotes hold blanks, colons and quotes together", () => {
  const values = parseSearch('class:"traffic light" "a:b" photo:"say \\"hi\\" \\\\" class:"open end').tokens;
  assert.deepEqual(values.map(({ key, value }) => [key, value]), [
    ["class", "traffic light"], ["", "a:b"], ["photo", 'say "hi" \\'], ["class", "open end"],
  ]);
});

test("what cannot be read is said, and the rest holds", () => {
  const { tokens, problems } = parseSearch("size:small colour:red is: - cup");
  assert.deepEqual(tokens.map(({ value }) => value), ["cup"]);
  assert.equal(problems.length, 4);
  assert.match(problems[0], /^size:small: expected a number/);
  assert.match(problems[1], /^colour:red: expected one of is, cause/);
  assert.match(problems[2], /^is:: expected a value/);
});

test("a key that has several values has each of them", () => {
  const item = { ...cup, past: ["anchors", "rpn_nms"] };
  assert.equal(found("past:rpn_nms", item), true);
  assert.equal(found("past:nms", item), false);
  assert.equal(found("-past:anchors", item), false);
  assert.equal(found("past:nms", { ...cup, past: null }), false);
});

test("an empty search finds all", () => {
  assert.deepEqual(parseSearch("  "), { tokens: [], problems: [] });
  assert.equal(found(""), true);
});

test("keys are joined by and, values of one key by or", () => {
  assert.equal(found("is:missed cause:nms"), true);
  assert.equal(found("is:missed cause:class"), false);
  assert.equal(found("is:missed cause:class cause:nms"), true);
  assert.equal(found('kind:"another object" stage:detection level:p3 border:no'), true);
});

test("bounds all have to hold, at the bound as written", () => {
  assert.equal(found("size:<32"), false);
  assert.equal(found("size:<=32 size:>=32 size:32"), true);
  assert.equal(found("side:>40 side:<41"), true);
  assert.equal(found("side:>40 side:<40"), false);
});

test("what has no number lies within no bound", () => {
  assert.equal(found("score:>0"), false);
  assert.equal(found("score:<=0"), false);
  assert.equal(found("-score:>0"), true);
});

test("a minus turns a token around; turned ones are no alternatives", () => {
  assert.equal(found("-cause:class -cause:box"), true);
  assert.equal(found("-cause:nms cause:nms"), false);
  assert.equal(found("-kitchen"), false);
});

test("a word is looked for within class and photo, the text of a key is the whole", () => {
  assert.equal(found("CUP"), true);
  assert.equal(found("kitch cup"), true);
  assert.equal(found("kitch plate"), false);
  assert.equal(found("photo:kitchen"), false);
  assert.equal(found("photo:kitchen/1.jpg"), true);
  assert.equal(found("class:cu"), false);
});

test("what is printed is read as the same tokens", () => {
  const next = random(5);
  const letters = [..."ab:<>=-\"\\ \t1.é<"];
  const word = () => Array.from({ length: 1 + Math.floor(6 * next()) }, () => letters[Math.floor(letters.length * next())]).join("");
  const texts = ["", ...Object.keys(SEARCH_KEYS).filter((key) => SEARCH_KEYS[key] === "text")];
  for (let round = 0; round < 3000; round++) {
    const tokens = Array.from({ length: 1 + Math.floor(3 * next()) }, () => {
      const not = next() < 0.3;
      if (next() < 0.3) return { key: "size", operator: ["<", "<=", "=", ">", ">="][Math.floor(5 * next())], value: next().toFixed(2), not };
      return { key: texts[Math.floor(texts.length * next())], operator: "", value: word(), not };
    });
    assert.deepEqual(parseSearch(printSearch(tokens)), { tokens, problems: [] }, printSearch(tokens));
  }
});
