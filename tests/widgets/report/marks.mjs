// Gives what the report draws of picked proposals at stage 5, for `test_stages.py`.

import { readFileSync } from "node:fs";

import { ClassificationStage } from "../../../widgets/mrcnn_widgets/report/js/classificationstage.js";
import { unpack } from "../../../widgets/mrcnn_widgets/viewer/js/layers.js";

const { record, rows } = JSON.parse(readFileSync(0, "utf8"));
const stage = new ClassificationStage(record);
const answers = rows.map((row) =>
  stage.marks(row).map(({ about, buffer }) => {
    const { name, stride, shape, origin, box } = unpack(about, buffer);
    return { name, stride, shape, origin, box: box.map((column) => [...column]) };
  }));
process.stdout.write(JSON.stringify(answers));
