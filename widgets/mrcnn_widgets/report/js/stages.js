// @ts-check
// A stage of a traced photo: its steps, its layers, and what is said of a row.

import { blockJson } from "./blocks.js";
import { ready } from "./packs.js";

/**
 * @typedef {import("./packs.js").Packed} Packed
 * @typedef {import("./packs.js").Ready} Ready
 * @typedef {[string, string][]} Facts name and value
 * @typedef {{ title: string, hint: string, layers: Packed[], rows?: string, main?: string, filters?: string[] }} Step
 * @typedef {{ caption: string, head: string[], rows: string[][] }} Table
 * @typedef {[string, number, string]} Bar name, share and color
 * @typedef {{ facts: Facts, bars?: Bar[], layers?: Packed[], box?: number[], refined?: number[], samples?: [number, number], scale?: number }} RowRecord
 * @typedef {{ name: string, label: string, min?: number, max?: number, step?: number, value?: number, own?: number, checked?: boolean }} Control
 *   a slider, or a box to check
 *
 * @typedef {object} StageRecord
 * @property {string} key
 * @property {string} title
 * @property {string} sentence
 * @property {"network" | "photo"} frame
 * @property {string} main the layer whose rows can be picked
 * @property {Step[]} steps
 * @property {number} [first] the step that is shown without a choice
 * @property {Table[]} tables
 * @property {string} [note]
 * @property {import("../../viewer/js/filter.js").Thresholds} [thresholds] that its layers start with
 *
 * What the address asks of a stage.
 * @typedef {{ step: number, row: number | null, params: URLSearchParams, subject: string | null }} Asked
 *
 * @typedef {object} Shown
 * @property {Ready[]} layers
 * @property {number | null} selected the row of `main` in its layer
 * @property {string} main
 * @property {Facts} facts
 * @property {Bar[]} bars
 * @property {Table[]} tables
 * @property {Control[]} controls
 * @property {string} note
 */

/** A stage whose layers were made when the report was. */
export class Stage {
  /** @param {StageRecord} record */
  constructor(record) {
    this.record = record;
  }

  /** @param {Asked} asked @returns {Promise<Shown>} */
  async show({ step, row }) {
    const { steps, main, tables, note = "" } = this.record;
    const here = steps[step];
    const known = row === null || !here?.rows ? null : (await blockJson(here.rows))[row];
    return {
      layers: [...(here?.layers ?? []).map(ready), ...this.marks(known)],
      selected: row,
      main: here?.main ?? main,
      facts: known?.facts ?? [],
      bars: known?.bars ?? [],
      tables,
      controls: [],
      note,
    };
  }

  /** What belongs to a row on the photo. @param {RowRecord | null} known @returns {Ready[]} */
  marks(known) {
    return (known?.layers ?? []).map(ready);
  }

  /** The row that an address names, of a row of the layer. @param {number} row */
  rowOf(row) {
    return row;
  }
}
