// Python's inference/decision.py, step by step and in the same float32: probability -> mask -> Dice.
// Masks are Uint8Array of SIDE x SIDE, row by row, values 0 or 1. Knows nothing of the page.
"use strict";

const SIDE = 1024; // every decision is made at 1024 x 1024
const STEPS = 255; // a probability is stored as round(255 p)

/** Read base64 text as bytes. */
function readBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Read a map that report/pictures.py packed: zlib over differences along each row. Returns Uint8Array, size * size. */
async function unpackMap(text, size) {
  if (!window.DecompressionStream) throw new Error("this browser has no DecompressionStream; Chrome 80, Firefox 113 and Safari 16.4 do");
  const stream = new Blob([readBase64(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const map = new Uint8Array(await new Response(stream).arrayBuffer());
  if (map.length !== size * size) throw new Error(`a map of ${map.length} bytes; expected ${size * size}`);
  for (let row = 0; row < size; row++) {
    for (let at = row * size + 1; at < (row + 1) * size; at++) map[at] += map[at - 1]; // modulo 256
  }
  return map;
}

/** Places and weights of bilinear interpolation along one axis, pixel centres aligned as in OpenCV. */
function interpolation(size) {
  const scale = size / SIDE;
  const first = new Int32Array(SIDE), second = new Int32Array(SIDE), weight = new Float32Array(SIDE);
  for (let at = 0; at < SIDE; at++) {
    const place = Math.fround((at + 0.5) * scale - 0.5);
    let low = Math.floor(place);
    let part = Math.fround(place - low);
    if (low < 0) { low = 0; part = 0; }
    if (low >= size - 1) { low = size - 1; part = 0; }
    first[at] = low;
    second[at] = Math.min(low + 1, size - 1);
    weight[at] = part;
  }
  return { first, second, weight };
}

/** Bring a map of size x size to SIDE x SIDE; Float32Array, values 0 to 255, not rounded. */
function upsample(map, size) {
  const full = new Float32Array(SIDE * SIDE);
  if (size === SIDE) { full.set(map); return full; }
  const { first, second, weight } = interpolation(size);
  const wide = new Float32Array(size * SIDE);
  for (let row = 0; row < size; row++) {
    for (let at = 0; at < SIDE; at++) {
      const right = weight[at], left = Math.fround(1 - right), start = row * size;
      wide[row * SIDE + at] =
        Math.fround(map[start + first[at]] * left) + Math.fround(map[start + second[at]] * right);
    }
  }
  for (let row = 0; row < SIDE; row++) {
    const below = weight[row], above = Math.fround(1 - below);
    const upper = first[row] * SIDE, lower = second[row] * SIDE, out = row * SIDE;
    for (let at = 0; at < SIDE; at++) {
      full[out + at] = Math.fround(wide[upper + at] * above) + Math.fround(wide[lower + at] * below);
    }
  }
  return full;
}

/** Count the values above a limit. */
function countAbove(full, limit) {
  let count = 0;
  for (let at = 0; at < full.length; at++) if (full[at] > limit) count++;
  return count;
}

/** Leave out the connected components (of eight neighbours) of fewer than `least` pixels, in place. */
function keepLarge(mask, least) {
  const seen = new Uint8Array(mask.length);
  const component = new Int32Array(mask.length);
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    let end = 1;
    component[0] = start;
    seen[start] = 1;
    for (let next = 0; next < end; next++) {
      const x = component[next] % SIDE, y = (component[next] - x) / SIDE;
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, SIDE - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, SIDE - 1); column++) {
          const at = row * SIDE + column;
          if (mask[at] && !seen[at]) { seen[at] = 1; component[end++] = at; }
        }
      }
    }
    if (end < least) for (let at = 0; at < end; at++) mask[component[at]] = 0;
  }
}

/** The probability above which pixels count for the minimum area. */
const firstCut = (rule) => (rule.top_threshold === null ? rule.threshold : rule.top_threshold);

/** The value of one part of the rule that is in force. */
const valueOf = (rule, name) => (name === "top_threshold" ? firstCut(rule) : rule[name]);

/** Change one part of the rule, in place; the top threshold is never below the threshold. */
function changeRule(rule, name, value) {
  rule[name] = value;
  if (rule.top_threshold !== null) rule.top_threshold = Math.max(rule.top_threshold, rule.threshold);
}

/** Decide on one image. rule: the fields of Python's Rule; imageProbability: of the image, or null. */
function decide(full, rule, imageProbability) {
  const mask = new Uint8Array(full.length);
  if (imageProbability !== null && imageProbability < rule.classification_threshold) return mask;
  const top = Math.fround(firstCut(rule) * STEPS);
  if (countAbove(full, top) < Math.max(rule.min_area, 1)) return mask;
  const threshold = Math.fround(rule.threshold * STEPS);
  for (let at = 0; at < full.length; at++) mask[at] = full[at] > threshold ? 1 : 0;
  if (rule.min_component) keepLarge(mask, rule.min_component);
  return mask;
}

/** Read the competition's run-length code: gaps and lengths, down the columns; '-1' is empty. */
function decodeRuns(text) {
  const mask = new Uint8Array(SIDE * SIDE);
  if (text.trim() === "-1") return mask;
  const numbers = text.trim().split(/\s+/).map(Number);
  let place = 0;
  for (let pair = 0; pair < numbers.length; pair += 2) {
    place += numbers[pair];
    for (const end = place + numbers[pair + 1]; place < end; place++) {
      mask[(place % SIDE) * SIDE + Math.floor(place / SIDE)] = 1;
    }
  }
  return mask;
}

/** Dice of two masks by their pixels; two empty masks score 1. */
const diceOf = (overlap, found, truth) => (found + truth ? (2 * overlap) / (found + truth) : 1);

/** Count the pixels of truth, prediction and both, and score them. */
function compare(truth, prediction) {
  let area = 0, found = 0, overlap = 0;
  for (let at = 0; at < truth.length; at++) {
    area += truth[at];
    found += prediction[at];
    overlap += truth[at] & prediction[at];
  }
  return { truth: area, found, overlap, dice: diceOf(overlap, found, area) };
}

/** Trace the outlines of a mask along the borders of its pixels; the path of an SVG of SIDE x SIDE. */
function trace(mask) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < SIDE && y < SIDE && mask[y * SIDE + x] === 1;
  const DX = [1, 0, -1, 0], DY = [0, 1, 0, -1]; // right, down, left, up; the mask lies to the right hand
  const done = new Uint8Array((SIDE + 1) * (SIDE + 1)); // corners where a border to the right was walked
  const parts = [];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (!inside(x, y) || inside(x, y - 1) || done[y * (SIDE + 1) + x]) continue;
      let column = x, row = y, way = 0;
      parts.push(`M${x} ${y}`);
      do {
        if (way === 0) done[row * (SIDE + 1) + column] = 1;
        column += DX[way];
        row += DY[way];
        // The two pixels ahead, to the right and the left of the walk.
        const right = [[0, 0], [-1, 0], [-1, -1], [0, -1]][way], left = [[0, -1], [0, 0], [-1, 0], [-1, -1]][way];
        const before = way;
        if (!inside(column + right[0], row + right[1])) way = (way + 1) % 4;
        else if (inside(column + left[0], row + left[1])) way = (way + 3) % 4;
        if (way !== before) parts.push(`L${column} ${row}`);
      } while (column !== x || row !== y || way !== 0);
      parts.push("Z");
    }
  }
  return parts.join("");
}
