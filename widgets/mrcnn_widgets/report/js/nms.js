// @ts-check
// The filters of stages 4 and 6 as torchvision computes them, row by row and bit by bit.
//
// Its tensors are float32: each sum and product is rounded by `Math.fround`. That equals the
// hardware's float32, because a double has more than twice as many digits. Only the threshold of
// NMS is a double there.

import { take } from "./packs.js";

const single = Math.fround;

/**
 * @typedef {[Float32Array, Float32Array, Float32Array, Float32Array]} Columns x1, y1, x2, y2
 * @typedef {ArrayLike<number> & Iterable<number>} Rows
 */

/** Boxes cut to an image. @param {Columns} boxes @param {[number, number]} size height, width @returns {Columns} */
export function clipBoxes([x1, y1, x2, y2], [height, width]) {
  return [clamp(x1, width), clamp(y1, height), clamp(x2, width), clamp(y2, height)];
}

/** @param {Float32Array} values @param {number} most */
function clamp(values, most) {
  return values.map((value) => Math.min(Math.max(value, 0), most));
}

/**
 * IoU of two boxes.
 * @param {Columns} boxes @param {number} i @param {Columns} others @param {number} j
 */
export function iouOf([x1, y1, x2, y2], i, [u1, v1, u2, v2], j) {
  const width = Math.max(0, single(Math.min(x2[i], u2[j]) - Math.max(x1[i], u1[j])));
  const height = Math.max(0, single(Math.min(y2[i], v2[j]) - Math.max(y1[i], v1[j])));
  const shared = single(width * height);
  const one = single(single(x2[i] - x1[i]) * single(y2[i] - y1[i]));
  const other = single(single(u2[j] - u1[j]) * single(v2[j] - v1[j]));
  return single(shared / single(single(one + other) - shared));
}

/** Rows whose box has both sides of at least `least` pixels. @param {Columns} boxes @param {Rows} rows @param {number} least */
export function largeRows([x1, y1, x2, y2], rows, least) {
  const bound = single(least);
  return Int32Array.from(rows).filter(
    (row) => single(x2[row] - x1[row]) >= bound && single(y2[row] - y1[row]) >= bound);
}

/** Rows by falling score; equal ones stay in their order. @param {Float32Array} scores @param {Rows} rows */
export function byScore(scores, rows) {
  return Int32Array.from([...rows].sort((a, b) => scores[b] - scores[a]));
}

/**
 * Greedy non-maximum suppression, as `torchvision.ops.nms`.
 * @param {Columns} boxes @param {Float32Array} scores @param {Rows} rows that take part
 * @param {number} threshold 0 or more
 * @returns {Int32Array} the rows that stay, the best first
 */
export function nmsRows(boxes, scores, rows, threshold) {
  const order = byScore(scores, rows);
  const [x1, y1, x2, y2] = boxes.map((column) => take(column, order));
  const area = x1.map((left, i) => single(x2[i] - left) * single(y2[i] - y1[i]));
  const gone = new Uint8Array(order.length);
  const kept = [];
  for (let i = 0; i < order.length; i++) {
    if (gone[i]) continue;
    kept.push(order[i]);
    const left = x1[i], top = y1[i], right = x2[i], bottom = y2[i], own = area[i];
    // An IoU is no more than the ratio of the areas, rounding aside: most pairs end here.
    const least = own * threshold * 0.999, most = own / threshold / 0.999;
    for (let j = i + 1; j < order.length; j++) {
      if (area[j] < least || area[j] > most || gone[j]) continue;
      // Boxes that lie apart have an IoU of 0, which exceeds no threshold.
      if (x1[j] >= right || x2[j] <= left || y1[j] >= bottom || y2[j] <= top) continue;
      // As `iouOf`, without its price.
      const width = single(Math.min(right, x2[j]) - Math.max(left, x1[j]));
      const shared = single(width * single(Math.min(bottom, y2[j]) - Math.max(top, y1[j])));
      if (single(shared / single(single(own + area[j]) - shared)) > threshold) gone[j] = 1;
    }
  }
  return Int32Array.from(kept);
}

/**
 * NMS within groups, as `torchvision.ops.batched_nms`: few boxes are moved apart by group, so far
 * that those of different groups cannot meet, which rounds them; many are looked at group by group.
 * @param {Columns} boxes @param {Float32Array} scores @param {Int32Array} groups @param {Rows} rows
 * @param {number} threshold
 * @param {number} most boxes that are moved apart
 */
export function batchedNmsRows(boxes, scores, groups, rows, threshold, most) {
  if (!rows.length) return new Int32Array();
  if (rows.length > most) {
    const kept = [...new Set([...rows].map((row) => groups[row]))].flatMap((group) =>
      [...nmsRows(boxes, scores, [...rows].filter((row) => groups[row] === group), threshold)]);
    return byScore(scores, kept.sort((a, b) => a - b));
  }
  let far = -Infinity;
  for (const row of rows) for (const column of boxes) far = Math.max(far, column[row]);
  const step = single(far + 1);
  const apart = /** @type {Columns} */ (boxes.map((column) => {
    const moved = column.slice();
    for (const row of rows) moved[row] = single(column[row] + single(groups[row] * step));
    return moved;
  }));
  return nmsRows(apart, scores, rows, threshold);
}

/**
 * Who was kept instead of a row that NMS dropped.
 * @param {Columns} boxes @param {Float32Array} scores @param {number} row
 * @param {Rows} kept of its group, the best first
 * @param {number} threshold
 * @returns {number | null} the first that overlaps it by more; else the one that does most
 */
export function suppressorOf(boxes, scores, row, kept, threshold) {
  const better = [...kept].filter((other) => scores[other] >= scores[row]);
  const ious = better.map((other) => iouOf(boxes, row, boxes, other));
  const first = ious.findIndex((iou) => iou > threshold);
  return better[first < 0 ? ious.indexOf(Math.max(...ious)) : first] ?? null;
}

/**
 * @typedef {{ score: number, nms: number, limit: number, min_size: number }} Settings
 * @typedef {object} Candidates
 * @property {Columns} boxes clipped
 * @property {Float32Array} score
 * @property {Int32Array} group
 */

/**
 * Stage 4: the rows that each filter keeps.
 * @param {Candidates} all @param {Settings} settings @param {boolean} perLevel @param {number} most
 * @returns {Record<string, Int32Array>}
 */
export function proposeAgain({ boxes, score, group }, settings, perLevel, most) {
  const every = Int32Array.from(score.keys());
  const large = largeRows(boxes, every, settings.min_size);
  const least = single(settings.score);
  const scored = large.filter((row) => score[row] >= least);
  const kept = perLevel
    ? batchedNmsRows(boxes, score, group, scored, settings.nms, most)
    : nmsRows(boxes, score, scored, settings.nms);
  return {
    top_k: every, rpn_min_size: large, rpn_score: scored, rpn_nms: kept,
    proposal_limit: kept.slice(0, settings.limit),
  };
}

/**
 * Stage 6: the rows that each filter keeps of the candidates that are no background.
 * @param {Candidates} all @param {Settings} settings @param {number} most
 * @returns {Record<string, Int32Array>}
 */
export function detectAgain({ boxes, score, group }, settings, most) {
  const every = Int32Array.from(score.keys());
  const least = single(settings.score);
  const confident = every.filter((row) => score[row] > least);
  const large = largeRows(boxes, confident, settings.min_size);
  const kept = batchedNmsRows(boxes, score, group, large, settings.nms, most);
  return {
    foreground: every, score: confident, min_size: large, nms: kept,
    detection_limit: kept.slice(0, settings.limit),
  };
}
