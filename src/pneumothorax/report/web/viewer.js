// One case, large: radiograph, truth, prediction and probability; the rule can be changed and is applied again.
"use strict";

const viewer = document.getElementById("viewer");
const part = (name) => document.getElementById(`viewer-${name}`);
const stage = part("stage"), sheet = part("sheet"), picture = part("picture");
const outlines = drawing();
part("outlines").append(outlines.svg);
const RULE = Object.keys(report.runs[0].rule);
const rules = report.runs.map((run) => ({ ...run.rule }));
const show = { truth: true, prediction: true, heat: false, cam: false, fill: false, other: false };
const place = { zoom: 1, x: 0, y: 0 }; // of the sheet's middle, in its own widths and heights from the stage's
let open = null; // {at, run, content}, and once they are there full, fullOf (which run it is of), mask and gradCam

/** Open a case, or go on to another. */
async function openCase(at) {
  const run = open ? open.run : chosenRun();
  open = { at, run, content: contentOf(at) };
  if (part("run")) part("run").value = run;
  wipe();
  if (!viewer.open) viewer.showModal();
  if (!shown.includes(at)) takeQuery(new URLSearchParams());
  const id = report.id[at];
  part("title").textContent = id;
  picture.src = open.content.image;
  picture.alt = `Radiograph ${id}`;
  part("place").textContent = `${shown.indexOf(at) + 1} of ${shown.length}`;
  part("link").href = `#/case/${encodeURIComponent(id)}`;
  const facts = [
    ["Patient's side", report.side[at] || "–"], ["View", report.view[at] || "–"], ["Sex", report.sex[at] || "–"],
    ["Age", report.age[at] === null ? "–" : `${report.age[at]} years`],
    ["Image", `${report.width[at]} × ${report.height[at]} pixels`], ["Fold", report.fold[at] || "–"],
  ];
  if (report.patient) facts.push(["Patient", report.patient[at] || "–"]);
  part("facts").replaceChildren(...facts.map(([name, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }));
  fit();
  await judgeCase();
}

/** Close the viewer and leave the focus on the case's tile. */
function closeCase() {
  if (!open) return;
  const { at } = open;
  open = null;
  if (viewer.open) viewer.close();
  const tile = tiles.get(at);
  if (tile && tile.item.isConnected) tile.item.firstChild.focus();
}

/** Apply the rule to the open case, and show what comes of it. */
async function judgeCase() {
  const asked = open, { run } = asked;
  showAlike(asked);
  const map = await asked.content.maps[run].catch((error) => error);
  if (open !== asked || asked.run !== run) return; // another case or run was chosen meanwhile
  if (map instanceof Error) {
    wipe();
    part("trouble").textContent = `The prediction of ${report.runs[run].name} cannot be unpacked: ${map.message}`;
    part("trouble").hidden = false;
    paint();
    return;
  }
  part("trouble").hidden = true;
  if (asked.fullOf !== run) Object.assign(asked, { full: upsample(map, report.runs[run].size), fullOf: run });
  const rule = rules[run], imageProbability = imageProbabilityOf(asked.at, run);
  asked.mask = decide(asked.full, rule, imageProbability);
  const result = compare(asked.content.truth, asked.mask);
  viewer.dataset.dice = result.dice;
  viewer.dataset.area = result.found;
  part("dice").textContent = result.dice.toFixed(3);
  part("area").textContent = `${result.found.toLocaleString("en")} px`;
  part("truth-area").textContent = `${result.truth.toLocaleString("en")} px`;
  part("overlap").textContent = `${result.overlap.toLocaleString("en")} px`;
  part("image-probability").textContent = imageProbability === null ? "–" : imageProbability.toFixed(3);
  part("highest").textContent = (map.reduce((most, value) => Math.max(most, value), 0) / STEPS).toFixed(3);
  for (const name of RULE) showRule(name, rule);
  const same = RULE.every((name) => rule[name] === report.runs[run].rule[name]);
  part("reset").disabled = same;
  outline("prediction", asked.mask);
  await readGradCam(asked);
  await traceOther(asked);
  paint();
}

/** Draw the outline of a mask, or none. */
function outline(name, mask) {
  const path = mask ? trace(mask) : "";
  for (const one of [outlines[name], outlines[`${name}Halo`]]) one.setAttribute("d", path);
}

/** Clear the text and drawing of another case, or of another run. */
function wipe() {
  outline("truth", open.content.truth);
  outline("prediction", null);
  outline("other", null);
  for (const name of ["dice", "area", "truth-area", "overlap", "image-probability", "highest"]) part(name).textContent = "–";
  for (const name of ["fills", "heat", "cam", "cam-words", "alike"]) if (part(name)) part(name).hidden = true;
  delete viewer.dataset.dice;
  delete viewer.dataset.area;
  Object.assign(open, { full: null, fullOf: null, mask: null, gradCam: null });
}

/** Outline what the other run predicts by its own rule, if that is wanted and can be unpacked. */
async function traceOther(asked) {
  const other = report.runs.length > 1 ? (asked.run === 0 ? 1 : 0) : null;
  if (other === null || !show.other) return;
  const mask = await predictionOf(asked.at, other, rules[other]).catch(() => null);
  if (open === asked) outline("other", mask);
}

/** Write one value of the rule into its field. */
function showRule(name, rule) {
  const field = part(name);
  if (!field) return;
  const value = valueOf(rule, name);
  if (document.activeElement !== field || field.type === "range") field.value = value;
  const output = part(`${name}-value`);
  if (output) output.textContent = Number(value).toFixed(2);
}

/** Show or hide the layers, and paint fills and heat map. */
function paint() {
  for (const name of Object.keys(show)) {
    const button = part(`show-${name}`);
    if (button) button.setAttribute("aria-pressed", String(show[name]));
  }
  for (const name of ["truth", "prediction", "other"]) {
    outlines[name].style.display = outlines[`${name}Halo`].style.display = show[name] ? "" : "none";
  }
  const opacity = part("opacity").value / 100;
  const fills = part("fills"), heat = part("heat");
  if (!open || !open.full) return;
  fills.hidden = !show.fill;
  heat.hidden = !show.heat;
  fills.style.opacity = heat.style.opacity = opacity;
  if (show.fill) paintFills(fills.getContext("2d"));
  if (show.heat) paintHeat(heat.getContext("2d"), open.full, HEAT, 4);
  if (part("cam")) showGradCam(opacity);
}

/** Truth red, prediction green, both yellow. */
function paintFills(context) {
  const pixels = context.createImageData(SIDE, SIDE);
  const words = new Uint32Array(pixels.data.buffer); // ABGR
  const COLOURS = [0, 0xff3030ff, 0xff40c020, 0xff20e0ff];
  const { truth } = open.content, { mask } = open;
  for (let at = 0; at < words.length; at++) {
    words[at] = COLOURS[(show.truth ? truth[at] : 0) | (show.prediction ? mask[at] << 1 : 0)];
  }
  context.putImageData(pixels, 0, 0);
}

// matplotlib's 'inferno' at nine places; what is improbable is clear.
const HEAT = [[0, 0, 4], [32, 12, 74], [87, 16, 110], [137, 34, 106], [188, 55, 84], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]];

/** Paint values 0 to 255 as a heat map; the colours are opaque from 255 / steepness. */
function paintHeat(context, values, colours, steepness) {
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const place = (value / 255) * (colours.length - 1), low = Math.min(Math.floor(place), colours.length - 2), share = place - low;
    const [red, green, blue] = colours[low].map((from, at) => Math.round(from + (colours[low + 1][at] - from) * share));
    table[value] = ((Math.min(255, value * steepness) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  const pixels = context.createImageData(SIDE, SIDE);
  const words = new Uint32Array(pixels.data.buffer);
  for (let at = 0; at < words.length; at++) words[at] = table[Math.round(values[at])];
  context.putImageData(pixels, 0, 0);
}

/** Go to the case that is so many places further in the grid. */
function step(places) {
  if (!open || !shown.length) return;
  const next = (shown.indexOf(open.at) + places + shown.length) % shown.length;
  location.replace(`#/case/${encodeURIComponent(report.id[shown[next]])}`);
}

/** Lay the sheet out as large as it is seen whole, then move it where it was. */
function layOut() {
  if (!open) return;
  const aspect = report.width[open.at] / report.height[open.at];
  const width = Math.min(stage.clientWidth, stage.clientHeight * aspect);
  sheet.style.width = `${width}px`;
  sheet.style.height = `${width / aspect}px`;
  move();
}

/** Bring the sheet to its place; it never leaves a gap that it could fill. */
function move() {
  place.zoom = Math.min(Math.max(place.zoom, 1), 12);
  const reach = (stageSide, side) => Math.max(0, (place.zoom - stageSide / side) / 2);
  const across = reach(stage.clientWidth, sheet.offsetWidth), down = reach(stage.clientHeight, sheet.offsetHeight);
  place.x = Math.min(Math.max(place.x, -across), across);
  place.y = Math.min(Math.max(place.y, -down), down);
  sheet.style.transform = `translate(${place.x * 100}%, ${place.y * 100}%) scale(${place.zoom})`;
  part("zoom").textContent = `${place.zoom.toFixed(1)}×`;
}

function fit() {
  Object.assign(place, { zoom: 1, x: 0, y: 0 });
  layOut();
}

/** Zoom, and keep what is under a point (as `place` tells it) where it is. */
function zoomBy(factor, x = 0, y = 0) {
  const before = place.zoom;
  place.zoom = Math.min(Math.max(before * factor, 1), 12);
  place.x = x + ((place.x - x) * place.zoom) / before;
  place.y = y + ((place.y - y) * place.zoom) / before;
  move();
}

/** Window and level, in grey values: what lies below the window is black, what lies above it white. */
function setWindow() {
  const width = Number(part("window").value), level = Number(part("level").value);
  const slope = 255 / width, start = -(level - width / 2) / width;
  for (const channel of document.querySelectorAll("#window-level feFuncR, #window-level feFuncG, #window-level feFuncB")) {
    channel.setAttribute("slope", slope);
    channel.setAttribute("intercept", start);
  }
  part("window-value").textContent = width;
  part("level-value").textContent = level;
  picture.style.filter = width === 255 && level === 128 ? "" : "url(#window-level)";
}

const TOGGLES = { t: "truth", p: "prediction", h: "heat", g: "cam", f: "fill", o: "other" };

function toggle(name) {
  if (!part(`show-${name}`)) return;
  show[name] = !show[name];
  if (name === "heat") show.cam = false; // one map over the other shows neither
  if (name === "cam") show.heat = false;
  if (["other", "cam"].includes(name) && open) judgeCase(); else paint();
}

for (const name of Object.keys(show)) {
  const button = part(`show-${name}`);
  if (button) button.addEventListener("click", () => toggle(name));
}
for (const [name, action] of Object.entries({
  previous: () => step(-1), next: () => step(1), in: () => zoomBy(1.5), out: () => zoomBy(1 / 1.5), fit,
  close: () => { location.hash = "#cases"; },
  reset: () => { Object.assign(rules[open.run], report.runs[open.run].rule); judgeCase(); },
  plain: () => { part("window").value = 255; part("level").value = 128; setWindow(); },
})) part(name).addEventListener("click", action);

for (const name of RULE) {
  const field = part(name);
  if (!field) continue;
  field.addEventListener("input", () => {
    if (!open || field.value === "" || !field.validity.valid) return;
    changeRule(rules[open.run], name, Number(field.value));
    judgeCase();
  });
}
part("opacity").addEventListener("input", paint);
for (const name of ["window", "level"]) part(name).addEventListener("input", setWindow);
if (part("run")) {
  part("run").addEventListener("change", () => { open.run = Number(part("run").value); judgeCase(); });
}

viewer.addEventListener("cancel", (event) => { event.preventDefault(); location.hash = "#cases"; });
viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches("input:not([type=range]), select");
  const turning = event.target.matches("input, select");
  const key = event.key.toLowerCase();
  const PAN = { arrowleft: [0.1, 0], arrowright: [-0.1, 0], arrowup: [0, 0.1], arrowdown: [0, -0.1] };
  if (key in TOGGLES && !typing) toggle(TOGGLES[key]);
  else if (key in PAN && event.shiftKey && !turning) { place.x += PAN[key][0]; place.y += PAN[key][1]; move(); }
  else if ((key === "arrowright" || key === "arrowdown") && !turning) step(1);
  else if ((key === "arrowleft" || key === "arrowup") && !turning) step(-1);
  else if ((key === "+" || key === "=") && !typing) zoomBy(1.5);
  else if (key === "-" && !typing) zoomBy(1 / 1.5);
  else if (key === "0" && !typing) fit();
  else return;
  event.preventDefault();
});

// A pointer pans, two pinch, a wheel zooms.
const pointers = new Map();
const relative = (event) => {
  const box = stage.getBoundingClientRect();
  const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
  return [x / sheet.offsetWidth, y / sheet.offsetHeight];
};
stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, relative(event));
});
stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = relative(event);
  if (pointers.size === 1) {
    place.x += now[0] - before[0];
    place.y += now[1] - before[1];
    move();
  } else {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    zoomBy(distance(now) / Math.max(distance(before), 0.01), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }
  pointers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 400), ...relative(event));
}, { passive: false });
stage.addEventListener("dblclick", (event) => zoomBy(2, ...relative(event)));

new ResizeObserver(layOut).observe(stage);
setWindow();
showGrid();
window.addEventListener("hashchange", follow);
follow();
