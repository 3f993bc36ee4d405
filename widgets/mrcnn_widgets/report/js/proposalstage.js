// @ts-check
// Stage 4: from anchors to proposals, step by step, under any settings.

import { blockBytes } from "./blocks.js";
import { CandidateStage, fourColumns, withCommas } from "./candidatestage.js";
import { byScore, iouOf, proposeAgain, suppressorOf } from "./nms.js";
import { boxesAt, fill, ready, take } from "./packs.js";

/**
 * @typedef {import("./candidatestage.js").Table} Table
 * @typedef {import("./nms.js").Columns} Columns
 * @typedef {import("./nms.js").Settings} Settings
 * @typedef {import("./stages.js").Facts} Facts
 *
 * @typedef {object} Laid
 * @property {import("./packs.js").Packed} anchors the layer of all anchors
 * @property {[string, number, number, number][]} levels name, rows, columns, shapes
 * @property {boolean} per_level
 * @property {number[][]} object_boxes
 */

const PROPOSAL_LABELS = { score: "objectness ≥", nms: "NMS IoU >", min_size: "sides ≥, px", limit: "at most" };

export class ProposalStage extends CandidateStage {
  get laid() {
    return /** @type {Laid} */ (/** @type {unknown} */ (this.record));
  }

  async read() {
    const table = await super.read();
    const raw = await blockBytes(this.laid.anchors.block ?? "");
    const [offset, count] = this.laid.anchors.about.arrays?.boxes ?? [0, 0];
    const anchors = fourColumns(new Float32Array(raw, offset, count));
    table.origin = fourColumns(boxesAt(anchors, table.whole.anchor));
    this.objects = fourColumns(Float32Array.from([0, 1, 2, 3].flatMap((i) => this.laid.object_boxes.map((box) => box[i]))));
    return table;
  }

  /** @param {import("./stages.js").Asked} asked @returns {Promise<import("./stages.js").Shown>} */
  async show({ step, row, params, subject }) {
    const table = await this.table();
    const settings = this.settings(params);
    const kept = this.kept(settings, () => proposeAgain(table, settings, this.laid.per_level, this.more.spread));
    const most = this.drawLimit(params);
    const object = subject?.startsWith("object-") ? Number(subject.slice(7)) : null;
    const drawn = this.drawn(table, kept, step, most, object);
    this.rows = drawn;
    const picked = row !== null && row < table.score.length ? row : null;
    const at = picked === null ? -1 : drawn.indexOf(picked);
    const other = picked === null ? null : this.rival(table, kept, settings, picked);
    return {
      layers: [ready(this.more.objects), ...this.moves(table, drawn, kept, step), this.suppressor(table, picked, other)],
      selected: at < 0 ? null : at,
      main: "candidates",
      facts: picked === null ? [] : this.facts(table, kept, picked, other),
      bars: [],
      tables: [this.counts(table, kept, step, drawn.length)],
      controls: [
        ...this.controls(settings, PROPOSAL_LABELS),
        { name: "draw", label: "draw the best", min: 1, max: this.more.draws.most, step: 1, value: most, own: this.more.draws.few },
      ],
      note: "These settings change this stage alone: the stages after it would need the network.",
    };
  }

  /** @param {URLSearchParams} params */
  drawLimit(params) {
    const { few, most } = this.more.draws;
    return Math.min(Math.max(Math.floor(Number(params.get("draw") ?? few)) || few, 1), most);
  }

  /** @param {number} row */
  rowOf(row) {
    return this.rows?.[row] ?? row;
  }

  /** The candidates that entered a step, and those that stayed. @param {Record<string, Int32Array>} kept @param {number} step */
  around(kept, step) {
    const names = Object.keys(kept);
    const filters = this.record.steps[step].filters ?? [];
    const first = names.indexOf(filters[0]), last = names.indexOf(filters.at(-1) ?? "");
    return { entered: kept[names[Math.max(first - 1, 0)]], stayed: kept[names[last]], last };
  }

  /** The boxes at a step. @param {Table} table @param {number} step @returns {Columns} */
  boxesAtStep({ origin, refined, boxes }, step) {
    return [origin ?? boxes, refined][step] ?? boxes;
  }

  /**
   * The candidates to draw, the best first; around an object if one is followed.
   * @param {Table} table @param {Record<string, Int32Array>} kept @param {number} step
   * @param {number} most @param {number | null} object
   */
  drawn({ boxes, score }, kept, step, most, object) {
    const rows = byScore(score, this.around(kept, step).entered);
    const { objects } = this;
    if (object === null || !objects) return rows.slice(0, most);
    return rows.filter((row) => iouOf(boxes, row, objects, object) >= this.more.draws.around).slice(0, most);
  }

  /** @param {Table} table @param {Int32Array} drawn @param {Record<string, Int32Array>} kept @param {number} step */
  moves(table, drawn, kept, step) {
    const { before, moves, candidates } = this.more.patterns;
    const now = this.boxesAtStep(table, step);
    const earlier = step === 1 || step === 2 ? this.boxesAtStep(table, step - 1) : now;
    const moved = drawn.filter((row) => now.some((column, i) => column[row] !== earlier[i][row]));
    const start = boxesAt(earlier, moved);
    const levels = take(table.whole.anchor, drawn).map((anchor) => this.place(anchor).level);
    return [
      fill(before, moved.length, { boxes: start }),
      fill(moves, moved.length, { start, end: boxesAt(now, moved) }),
      fill(candidates, drawn.length, {
        group: this.groups(drawn, kept, step),
        boxes: boxesAt(now, drawn),
        "field score": take(table.score, drawn),
        "field level": levels,
        "field anchor": take(table.whole.anchor, drawn),
      }),
    ];
  }

  /** The group of each candidate, as far as its fate is known at a step. @param {Int32Array} drawn @param {Record<string, Int32Array>} kept @param {number} step */
  groups(drawn, kept, step) {
    const { last } = this.around(kept, step);
    const known = Object.fromEntries(Object.entries(kept).slice(0, last + 1));
    const groups = this.more.patterns.candidates.about.groups.map(({ name }) => name);
    const stays = step === this.record.steps.length - 1 ? "proposal" : "candidate";
    const sets = Object.entries(known).map(([name, rows]) => [name, new Set(rows)]);
    return [...drawn].map((row) => {
      const left = sets.find(([, rows]) => !(/** @type {Set<number>} */ (rows).has(row)));
      return groups.indexOf(left ? this.more.turned_away[String(left[0])] : stays);
    });
  }

  /** Where an anchor stands. @param {number} anchor */
  place(anchor) {
    let first = 0;
    for (const [level, [name, rows, columns, shapes]] of this.laid.levels.entries()) {
      const inside = anchor - first;
      if (inside < rows * columns * shapes) {
        const cell = Math.floor(inside / shapes);
        return { level, name, row: Math.floor(cell / columns), column: cell % columns, shape: inside % shapes };
      }
      first += rows * columns * shapes;
    }
    return { level: 0, name: "", row: 0, column: 0, shape: 0 };
  }

  /** @param {Table} table @param {Record<string, Int32Array>} kept @param {Settings} settings @param {number} row */
  rival({ boxes, score, group }, kept, settings, row) {
    if (!kept.rpn_score.includes(row) || kept.rpn_nms.includes(row)) return null;
    const own = kept.rpn_nms.filter((other) => group[other] === group[row]);
    return suppressorOf(boxes, score, row, own, settings.nms);
  }

  /** @param {Table} table @param {number | null} row @param {number | null} other */
  suppressor({ boxes }, row, other) {
    const others = other === null ? [] : [other];
    const labels = others.map((one) => `kept instead · IoU ${iouOf(boxes, row ?? one, boxes, one).toFixed(2)}`);
    return fill(this.more.patterns.suppressor, others.length, { boxes: boxesAt(boxes, others) }, { labels });
  }

  /** @param {Table} table @param {Record<string, Int32Array>} kept @param {number} row @param {number | null} other @returns {Facts} */
  facts({ boxes, score, whole }, kept, row, other) {
    const { name, row: line, column, shape } = this.place(whole.anchor[row]);
    const left = this.leftAt(kept, row);
    const [x1, y1, x2, y2] = boxes.map((values) => values[row]);
    /** @type {Facts} */
    const lines = [
      ["candidate", withCommas(row)],
      ["score", score[row].toFixed(4)],
      ["anchor", withCommas(whole.anchor[row])],
      ["level", name],
      ["row, column, ratio", `${line}, ${column}, ${shape}`],
      ["clipped size", `${(x2 - x1).toFixed(0)} × ${(y2 - y1).toFixed(0)}`],
      ["becomes", left === null ? `proposal ${kept.proposal_limit.indexOf(row)}` : this.more.turned_away[left]],
    ];
    if (other === null) return lines;
    return [
      ...lines,
      ["kept instead, score", score[other].toFixed(4)],
      ["IoU with it", iouOf(boxes, row, boxes, other).toFixed(3)],
    ];
  }

  /** What each step leaves, and the objects that it reaches. @param {Table} table @param {Record<string, Int32Array>} kept @param {number} step @param {number} drawn */
  counts(table, kept, step, drawn) {
    const anchors = this.laid.levels.reduce((sum, [, rows, columns, shapes]) => sum + rows * columns * shapes, 0);
    const { objects } = this;
    const count = objects?.[0].length ?? 0;
    const head = ["", "boxes", "gone", ...(count ? [`objects ≥ ${this.more.draws.reached}`] : [])];
    let before = anchors;
    const rows = [["anchors", withCommas(anchors), "", ""]];
    this.record.steps.forEach(({ title }, i) => {
      const { stayed } = this.around(kept, i);
      const gone = before > stayed.length ? `−${withCommas(before - stayed.length)}` : "";
      const reached = count && objects ? `${this.reached(this.boxesAtStep(table, i), stayed, objects)} of ${count}` : "";
      rows.push([(i === step ? "▸ " : "") + title, withCommas(stayed.length), gone, reached]);
      before = stayed.length;
    });
    rows.push(["drawn here", withCommas(drawn), "", ""]);
    return { caption: "Left after each step", head, rows: rows.map((row) => row.slice(0, head.length)) };
  }

  /** How many objects have a box that overlaps them enough. @param {Columns} boxes @param {Int32Array} rows @param {Columns} objects */
  reached(boxes, rows, objects) {
    const least = Math.fround(this.more.draws.reached);
    return [...objects[0].keys()].filter((object) =>
      rows.some((row) => iouOf(boxes, row, objects, object) >= least)).length;
  }
}
