// The inside of a network, in the viewer: Grad-CAM of the classification head, and the training images most alike.
// Both are computed by `report --explain` and packed by report/explanations.py.
"use strict";

// matplotlib's 'viridis' at nine places, unlike the heat map of the probability.
const EVIDENCE = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

/** Read the open case's Grad-CAM at full size, if it is shown and there is one. */
async function readGradCam(asked) {
  const { at, run } = asked, size = report.grad_cam[run], packed = asked.content.gradCam[run];
  if (!show.cam || packed === null) return;
  const map = await unpackMap(packed, size).catch(() => null);
  if (open === asked && asked.run === run && map) asked.gradCam = { map, full: upsample(map, size), size, at, run };
}

/** Show or hide Grad-CAM, with words on it. */
function showGradCam(opacity) {
  const canvas = part("cam"), words = part("cam-words"), { run, content, gradCam } = open;
  const there = gradCam && gradCam.run === run, some = there && gradCam.map.some((value) => value > 0);
  canvas.hidden = !(show.cam && some);
  words.hidden = !show.cam;
  canvas.style.opacity = opacity;
  if (content.gradCam[run] === null) words.textContent = `No Grad-CAM of this case by ${report.runs[run].name}.`;
  else if (there && !some) words.textContent = "Nothing in the image speaks for a pneumothorax to the classification head.";
  else if (there) {
    words.textContent = "Grad-CAM: the evidence for a pneumothorax that the classification head sees, as a share of "
      + `its maximum, at ${gradCam.size} × ${gradCam.size} places. It shows a region, not an outline.`;
  }
  if (!canvas.hidden) paintHeat(canvas.getContext("2d"), gradCam.full, EVIDENCE, 1);
}

/** Show the training images most alike to the open case, if the run is wrong in it. */
function showAlike({ at, run, content }) {
  if (!part("alike")) return;
  const found = content.alike[run];
  part("alike").hidden = !found || !found.length;
  if (part("alike").hidden) return;
  const images = found.map(([number]) => JSON.parse(document.getElementById(`alike-${number}`).textContent));
  const positive = images.filter((one) => one.positive).length;
  part("alike-words").textContent = `${positive} of ${images.length} labelled with a pneumothorax, this case `
    + `${report.truth[at] ? "with" : "without"} one. Other patients; by the encoder's features of the network that `
    + "held this case out and trained on them.";
  part("alike-list").replaceChildren(...images.map((one, place) => makeAlike(one, ...found[place].slice(1))));
}

/** Make the picture of one of them; pressed, it grows to the panel's width. */
function makeAlike(one, likeness, same) {
  const item = document.createElement("li"), button = document.createElement("button"), frame = document.createElement("span");
  const image = new Image(), { svg, truth, truthHalo } = drawing();
  const label = one.positive ? "pneumothorax" : "no pneumothorax";
  image.src = `data:image/jpeg;base64,${one.image}`;
  image.alt = `Training image ${one.id}: ${label}`;
  for (const path of [truth, truthHalo]) path.setAttribute("d", one.positive ? trace(decodeRuns(one.truth)) : "");
  frame.className = "frame";
  frame.append(image, svg);
  button.type = "button";
  button.title = "Larger or smaller";
  button.setAttribute("aria-expanded", "false");
  button.append(frame);
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(item.classList.toggle("large")));
  });
  const caption = document.createElement("span");
  caption.className = "caption";
  caption.append(label, document.createElement("br"), `likeness ${likeness.toFixed(3)}${same ? ", same pixels" : ""}`);
  const at = placeOf.get(one.id), name = document.createElement(report.pictured[at] ? "a" : "span");
  if (report.pictured[at]) name.href = `#/case/${encodeURIComponent(one.id)}`;
  name.className = "name";
  name.title = one.id;
  name.textContent = one.id.length > 14 ? `…${one.id.slice(-12)}` : one.id; // they differ in their ends
  item.append(button, caption, name);
  return item;
}
