"use strict";
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg", SURE = 0.5;
// picture: {name, data, width, height}. box: [x, y, width, height] or null. points: placed on this picture, {name, x, y}.
// kept: a template placed on an earlier picture. read: one out of a file. found: the answer's pose, with its edges.
const state = { about: null, picture: null, box: null, points: [], kept: null, read: null, found: null };

const key = new URLSearchParams(location.hash.slice(1)).get("token");
if (key) {
  sessionStorage.setItem("token", key);
  history.replaceState(null, "", location.pathname);  // not into bookmarks and screenshots
}

function say(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
  if (text) $("error").scrollIntoView({ block: "nearest" });
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token") || ""}` };
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  } catch {
    throw new Error("the server doesn't answer: has it been ended?");
  }
  if (answer.ok) return answer.json();
  $("key").hidden = answer.status !== 401;
  if (answer.status === 401) throw new Error("the server asks for its token: open the link that it has printed");
  const text = await answer.text();
  let line = text;
  try { line = JSON.parse(text).detail; } catch { /* Ray's own are plain text */ }
  throw new Error(line || `the server says ${answer.status}`);
}

async function begin() {
  try {
    const about = state.about = await ask("/api/model");
    $("key").hidden = true;
    say("");
    $("model").textContent = `${about.checkpoint}, epoch ${about.epoch}; it sees ${about.size} × ${about.size} pixels of a box`;
    $("category").replaceChildren(...about.categories.map((each) =>
      new Option(`${each.name} (${each.keypoints} keypoints)`, each.id)));
    if (!about.categories.length) {
      document.querySelector("[name=source][value=category]").disabled = true;
      choose("file");
    }
    await preview();
  } catch (error) {
    say(error.message);
  }
}

const source = () => document.querySelector("[name=source]:checked").value;
const placing = () => source() === "placed" && document.querySelector("[name=pointer]:checked").value === "point";
const colour = (number, count) => `hsl(${Math.round(number * 360 / count)} 90% 58%)`;

function make(kind, attributes, title) {
  const node = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (title) node.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: title }));
  return node;
}

function skeleton(places, edges, radius, titles, sure) {
  const count = places.length, nodes = [];
  for (const [i, j] of edges) {
    if (places[i] && places[j]) nodes.push(make("line", {
      class: "edge", x1: places[i][0], y1: places[i][1], x2: places[j][0], y2: places[j][1], stroke: colour(i, count),
    }));
  }
  places.forEach((place, k) => place && nodes.push(make("circle", sure && !sure[k]
    ? { class: "point ring", cx: place[0], cy: place[1], r: radius, fill: colour(k, count), style: `stroke: ${colour(k, count)}` }
    : { class: "point", cx: place[0], cy: place[1], r: radius, fill: colour(k, count) }, titles[k])));
  return nodes;
}

function draw() {
  const picture = state.picture, nodes = [];
  if (picture) {
    const radius = Math.max(picture.width, picture.height) / 110;
    if (state.box) {
      const [x, y, width, height] = state.box;
      nodes.push(make("rect", { class: "frame", x, y, width, height, "vector-effect": "non-scaling-stroke" }));
    }
    if (state.found) {
      const { keypoints, edges } = state.found;
      nodes.push(...skeleton(keypoints.map((k) => [k.x, k.y]), edges, radius,
        keypoints.map((k) => `${k.name}, score ${k.score.toFixed(2)}`), keypoints.map((k) => k.score >= SURE)));
    } else if (source() === "placed") {
      nodes.push(...skeleton(state.points.map((p) => [p.x, p.y]), edges(true), radius, state.points.map((p) => p.name)));
    }
  }
  $("drawn").replaceChildren(...nodes);
}

function unfind() {
  state.found = null;
  $("found").hidden = true;
}

function setBox(box) {
  state.box = box;
  [...$("box").querySelectorAll("input")].forEach((input, i) => { input.value = box ? Math.round(box[i] * 10) / 10 : ""; });
  changed();
}

function changed() {
  unfind();
  draw();
  preview();
}

// The picture.
function openPicture(file) {
  const reader = new FileReader();
  reader.onload = () => {
    const image = new Image();
    image.onload = () => {
      if (state.points.length) [state.kept, state.points] = [placed(), []];
      state.picture = { name: file.name, data: reader.result.split(",")[1], width: image.naturalWidth, height: image.naturalHeight };
      $("stage").setAttribute("viewBox", `0 0 ${image.naturalWidth} ${image.naturalHeight}`);
      $("stage").setAttribute("aria-label", file.name);
      for (const [name, value] of Object.entries({ href: reader.result, width: image.naturalWidth, height: image.naturalHeight })) {
        $("picture").setAttribute(name, value);
      }
      $("hint").textContent = `${file.name}, ${image.naturalWidth} × ${image.naturalHeight} pixels`;
      say("");
      listPoints();
      setBox(null);
    };
    image.onerror = () => say(`${file.name}: this browser can't show it; give a JPEG, PNG, WebP, BMP or GIF`);
    image.src = reader.result;
  };
  reader.onerror = () => say(`${file.name} can't be read`);
  reader.readAsDataURL(file);
}

$("file").addEventListener("change", () => $("file").files[0] && openPicture($("file").files[0]));
for (const kind of ["dragover", "drop", "dragleave"]) {
  $("look").addEventListener(kind, (event) => {
    event.preventDefault();
    $("look").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) openPicture(event.dataTransfer.files[0]);
  });
}

// On the picture: a drag draws the box, a click places a keypoint.
function at(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform($("stage").getScreenCTM().inverse());
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  return [within(point.x, state.picture.width), within(point.y, state.picture.height)];
}
let from = null;
$("stage").addEventListener("pointerdown", (event) => {
  if (!state.picture) return;
  event.preventDefault();
  if (placing()) {
    const [x, y] = at(event);
    addPoint(x, y);
  } else {
    from = at(event);
    $("stage").setPointerCapture(event.pointerId);
  }
});
$("stage").addEventListener("pointermove", (event) => {
  if (!from) return;
  const to = at(event);
  const box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
  if (box[2] >= 2 && box[3] >= 2) setBox(box);
});
for (const kind of ["pointerup", "pointercancel"]) $("stage").addEventListener(kind, () => { from = null; });
$("whole").addEventListener("click", () => setBox(null));
$("box").addEventListener("change", () => {
  const values = [...$("box").querySelectorAll("input")].map((input) => parseFloat(input.value));
  state.box = values.every(Number.isFinite) && values[2] > 0 && values[3] > 0 ? values : null;
  changed();
});

// What to find.
function choose(value) {
  document.querySelector(`[name=source][value=${value}]`).checked = true;
  for (const part of document.querySelectorAll("[data-source]")) part.hidden = part.dataset.source !== value;
  changed();
}
for (const radio of document.querySelectorAll("[name=source]")) radio.addEventListener("change", () => choose(radio.value));
$("category").addEventListener("change", changed);
$("templatefile").addEventListener("change", async () => {
  state.read = null;
  const file = $("templatefile").files[0];
  if (!file) return;
  try {
    const read = JSON.parse(await file.text());
    if (read.format !== "capetune-template" || !Array.isArray(read.xy) || !Array.isArray(read.edges)) throw new Error();
    state.read = read;
    say("");
  } catch {
    say(`${file.name} is no template; \`capetune template make\` writes one`);
  }
  changed();
});

// The template that is asked for, or the category's id; raises what is missing.
function wanted(lax) {
  if (source() === "category") return { category: $("category").value };
  if (source() === "file") {
    if (!state.read && !lax) throw new Error("choose a template's file first");
    return { template: state.read };
  }
  if (!state.points.length && !state.kept && !lax) throw new Error("place keypoints on the picture first, by clicking");
  return { template: state.points.length ? placed(lax) : state.kept };
}

const templates = new Map();  // category's id → a promise of its template
let previews = 0;
async function preview() {
  const turn = ++previews, shown = $("template"), asked = wanted(true);
  let template = asked.template;
  if (asked.category && state.about) {
    if (!templates.has(asked.category)) templates.set(asked.category, ask(`/api/templates/${encodeURIComponent(asked.category)}`));
    try {
      template = await templates.get(asked.category);
    } catch (error) {
      templates.delete(asked.category);
      say(error.message);
    }
  }
  if (turn !== previews) return;
  shown.toggleAttribute("hidden", !template);
  if (template) {
    const frame = make("rect", { class: "frame", x: 0, y: 0, width: 1, height: 1 });
    shown.replaceChildren(frame, ...skeleton(template.xy, template.edges, 0.028, template.names));
  }
}
