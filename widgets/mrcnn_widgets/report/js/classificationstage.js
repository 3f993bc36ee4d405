// @ts-check
// Stage 5: how the picked proposal moves, as the class it was called.

import { fill } from "./packs.js";
import { Stage } from "./stages.js";

export class ClassificationStage extends Stage {
  /** @param {import("./stages.js").RowRecord | null} known */
  marks(known) {
    const { patterns } = /** @type {{ patterns: Record<string, import("./packs.js").Packed> }} */ (
      /** @type {unknown} */ (this.record));
    const { refinement, "refined box": refined } = patterns;
    const { box = [], refined: moved = [], bars = [] } = known ?? {};
    const rows = known ? 1 : 0;
    const look = { labels: bars.slice(0, 1).map(([name]) => `as ${name}`), colors: bars.slice(0, 1).map((bar) => bar[2]) };
    return [
      fill(refinement, rows, { start: box, end: moved }),
      fill(refined, rows, { boxes: moved }, look),
    ];
  }
}
