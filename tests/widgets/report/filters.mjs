// Runs the report's filters of stage 4 or 6 on candidates and settings, for `test_filters.py`.

import { readFileSync } from "node:fs";

import { clipBoxes, detectAgain, proposeAgain, suppressorOf } from "../../../widgets/mrcnn_widgets/report/js/nms.js";

const { stage, refined, score, group, size, settings, perLevel, most } = JSON.parse(readFileSync(0, "utf8"));
const boxes = clipBoxes(refined.map((column) => Float32Array.from(column)), size);
const all = { boxes, score: Float32Array.from(score), group: Int32Array.from(group) };
const answers = settings.map((each) => {
  const kept = stage === 4 ? proposeAgain(all, each, perLevel, most) : detectAgain(all, each, most);
  const [before, after] = stage === 4 ? ["rpn_score", "rpn_nms"] : ["min_size", "nms"];
  const stays = new Set(kept[after]);
  const lost = [...kept[before]].filter((row) => !stays.has(row)).slice(0, 5);
  const rivals = lost.map((row) => {
    const own = [...kept[after]].filter((other) => all.group[other] === all.group[row]);
    return [row, suppressorOf(boxes, all.score, row, own, each.nms)];
  });
  return { kept: Object.fromEntries(Object.entries(kept).map(([name, rows]) => [name, [...rows]])), rivals };
});
process.stdout.write(JSON.stringify(answers));
