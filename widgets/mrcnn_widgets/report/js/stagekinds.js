// @ts-check
// The stages that compute something here, by their keys; the others are shown as they were packed.

import { ClassificationStage } from "./classificationstage.js";
import { DetectionStage } from "./detectionstage.js";
import { ProposalStage } from "./proposalstage.js";
import { Stage } from "./stages.js";

/** @type {Record<string, new (record: any) => Stage>} */
const STAGE_KINDS = { proposals: ProposalStage, classification: ClassificationStage, detection: DetectionStage };

/** Makes a stage of its record; one of which all but what is followed was left out computes nothing. @param {import("./stages.js").StageRecord} record */
export function stageOf(record) {
  const Kind = "patterns" in record ? STAGE_KINDS[record.key] : Stage;
  return new Kind(record);
}
