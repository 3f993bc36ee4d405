// @ts-check
// Stage 6: the candidates step by step, under any settings.

import { CandidateStage, withCommas } from "./candidatestage.js";
import { byScore, detectAgain, iouOf, suppressorOf } from "./nms.js";
import { boxesAt, fill, ready, take } from "./packs.js";

/**
 * @typedef {import("./candidatestage.js").Table} Table
 * @typedef {import("./stages.js").Facts} Facts
 * @typedef {{ totals: Record<string, number>, floor: number, cut: number }} Cut
 */

const DETECTION_LABELS = { score: "score >", nms: "NMS IoU >", limit: "at most" };

export class DetectionStage extends CandidateStage {
  /** @param {string} name @returns {{ min: number, max: number }} */
  range(name) {
    const { min, max } = super.range(name);
    if (name === "score") return { min: Math.min(Math.ceil(this.cut.floor * 100) / 100, this.more.settings.score), max };
    return name === "limit" ? { min, max: Math.max(300, this.more.settings.limit) } : { min, max };
  }

  get cut() {
    return /** @type {Cut} */ (/** @type {unknown} */ (this.record));
  }

  /** @param {import("./stages.js").Asked} asked @returns {Promise<import("./stages.js").Shown>} */
  async show({ step, row, params }) {
    const table = await this.table();
    const settings = this.settings(params);
    const kept = this.kept(settings, () => detectAgain(table, settings, this.more.spread));
    const histories = [kept.foreground, ...Object.values(kept)];
    const likely = params.get("all") === null;
    const drawn = this.drawn(table, histories[Math.max(step - 1, 0)], likely);
    this.rows = take(table.whole.row, drawn);
    const place = row === null ? -1 : table.whole.row.indexOf(row);
    const at = drawn.indexOf(place);
    return {
      layers: [
        ready(this.more.objects),
        this.candidates(table, drawn, new Set(histories[step]), step),
        ...this.details(table, kept, settings, place),
      ],
      selected: at < 0 ? null : at,
      main: "candidates",
      facts: place < 0 ? [] : this.facts(table, kept, settings, place),
      bars: [],
      tables: [this.counts(kept, step, drawn.length, settings), ...this.record.tables],
      controls: [
        ...this.controls(settings, DETECTION_LABELS),
        { name: "all", label: `draw scores ≥ ${this.more.draws.likely} only`, checked: likely },
      ],
      note: this.note(),
    };
  }

  /** @param {number} row */
  rowOf(row) {
    return this.rows?.[row] ?? row;
  }

  note() {
    const { cut, floor } = this.cut;
    return cut ? `${withCommas(cut)} candidates with a score of ${floor.toPrecision(3)} or less were left out of this file.` : "";
  }

  /**
   * The candidates to draw of those that a step sees, the best first.
   * @param {Table} table @param {Int32Array} seen @param {boolean} likely
   */
  drawn({ score }, seen, likely) {
    const { likely: least, best, most } = this.more.draws;
    const order = byScore(score, seen);
    const sure = order.findIndex((row) => score[row] < Math.fround(least));
    const count = !likely ? order.length : sure < 0 ? order.length : sure || best;
    return order.slice(0, Math.min(count, most));
  }

  /** @param {Table} table @param {Int32Array} drawn @param {Set<number>} stays @param {number} step */
  candidates(table, drawn, stays, step) {
    const pattern = this.more.patterns.candidates;
    const labels = take(table.group, drawn);
    const scores = take(table.score, drawn);
    const last = pattern.about.groups.length - 1;
    const staying = [...drawn].filter((row) => stays.has(row)).length;
    const texts = [...drawn].map((row, i) =>
      stays.has(row) ? `${this.nameOf(labels[i])} ${scores[i].toFixed(2)}` : "");
    return fill(
      pattern,
      drawn.length,
      {
        group: [...drawn].map((row, i) => (stays.has(row) ? Math.min(labels[i] + 1, last) : 0)),
        boxes: boxesAt(step === 0 ? table.refined : table.boxes, drawn),
        "field class": labels,
        "field score": scores,
        "field proposal": take(table.whole.proposal, drawn),
        "field candidate": take(table.whole.row, drawn),
      },
      { labels: staying <= this.more.draws.labeled ? texts : null },
    );
  }

  /** @param {number} label */
  nameOf(label) {
    return this.more.patterns.candidates.about.fields?.find(({ name }) => name === "class")?.names?.[label] ?? "";
  }

  /** @param {Table} table @param {Record<string, Int32Array>} kept @param {import("./nms.js").Settings} settings @param {number} row */
  rival({ boxes, score, group }, kept, settings, row) {
    if (!kept.min_size.includes(row) || kept.nms.includes(row)) return null;
    const own = kept.nms.filter((other) => group[other] === group[row]);
    return suppressorOf(boxes, score, row, own, settings.nms);
  }

  /**
   * Where a candidate came from, and what suppressed it; empty layers without one.
   * @param {Table} table @param {Record<string, Int32Array>} kept
   * @param {import("./nms.js").Settings} settings @param {number} row
   */
  details(table, kept, settings, row) {
    const { "its proposal": proposal, refinement, "its suppressor": suppressor } = this.more.patterns;
    const rows = row < 0 ? [] : [row];
    const other = row < 0 ? null : this.rival(table, kept, settings, row);
    const others = other === null ? [] : [other];
    const origin = boxesAt(table.origin ?? table.boxes, rows);
    return [
      fill(proposal, rows.length, { boxes: origin }),
      fill(refinement, rows.length, { start: origin, end: boxesAt(table.boxes, rows) }),
      fill(suppressor, others.length, { boxes: boxesAt(table.boxes, others) }, { labels: others.map(() => "suppressor") }),
    ];
  }

  /**
   * @param {Table} table @param {Record<string, Int32Array>} kept
   * @param {import("./nms.js").Settings} settings @param {number} row @returns {Facts}
   */
  facts(table, kept, settings, row) {
    const { boxes, score, group, whole } = table;
    const other = this.rival(table, kept, settings, row);
    const left = this.leftAt(kept, row);
    const became = left === null
      ? `detection ${kept.detection_limit.indexOf(row)}`
      : other === null ? this.more.turned_away[left] : `suppressed by candidate ${withCommas(whole.row[other])}`;
    /** @type {Facts} */
    const lines = [
      ["candidate", withCommas(whole.row[row])],
      ["proposal", String(whole.proposal[row])],
      ["class", this.nameOf(group[row])],
      ["score", score[row].toFixed(3)],
      ["box", boxes.map((column) => column[row].toFixed(0)).join(", ")],
      ["became", became],
    ];
    if (other === null) return lines;
    return [
      ...lines,
      ["suppressor's score", score[other].toFixed(3)],
      ["IoU of the two", iouOf(boxes, row, boxes, other).toFixed(3)],
    ];
  }

  /** How many candidates each step leaves. @param {Record<string, Int32Array>} kept @param {number} step @param {number} drawn */
  counts(kept, step, drawn) {
    const { totals } = this.cut;
    const left = [totals.refined, totals.foreground, ...Object.values(kept).slice(1).map((rows) => rows.length)];
    const rows = this.record.steps.map(({ title }, i) => [
      (i === step ? "▸ " : "") + title,
      withCommas(left[i]),
      i && left[i - 1] > left[i] ? `−${withCommas(left[i - 1] - left[i])}` : "",
    ]);
    rows.push(["drawn here", withCommas(drawn), ""]);
    return { caption: "Left after each step", head: ["", "candidates", "gone"], rows };
  }
}
