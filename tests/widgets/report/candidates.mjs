// Shows stage 4 or 6 of a report under many settings, and gives the last step's rows, for `test_candidates.py`.

import { readFileSync } from "node:fs";

import { stageOf } from "../../../widgets/mrcnn_widgets/report/js/stagekinds.js";

const { record, html, addresses } = JSON.parse(readFileSync(0, "utf8"));
const texts = new Map([...html.matchAll(/id="([^"]+)">([^<]*)</g)].map(([, id, text]) => [id, text]));
globalThis.document = { getElementById: (id) => ({ textContent: texts.get(id) }) };

const stage = stageOf(record);
const { boxes, score, group } = await stage.table();
const answers = [];
for (const address of addresses) {
  const params = new URLSearchParams(address);
  await stage.show({ step: record.steps.length - 1, row: null, params, subject: null });
  const rows = [...Object.values(stage.answer.kept).at(-1)];
  answers.push({
    settings: stage.settings(params),
    boxes: rows.map((row) => boxes.map((column) => column[row])),
    scores: rows.map((row) => score[row]),
    groups: rows.map((row) => group[row]),
  });
}
process.stdout.write(JSON.stringify(answers));
