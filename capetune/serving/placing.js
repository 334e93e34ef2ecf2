// A template out of keypoints that a person places on the picture.
function addPoint(x, y) {
  state.points.push({ name: `point ${state.points.length}`, x, y });
  listPoints();
  changed();
}
$("add").addEventListener("click", () => {
  if (!state.picture) return say("choose a picture first: keypoints are placed on it");
  addPoint(state.picture.width / 2, state.picture.height / 2);
  $("points").lastElementChild.querySelector("input").focus();
});
$("edges").addEventListener("input", changed);

function listPoints() {
  $("placing").textContent = state.kept && !state.points.length
    ? "The keypoints placed on the picture before are looked for; a click begins anew."
    : "Click the keypoints on the picture, in the box if there is one.";
  $("points").replaceChildren(...state.points.map((point, number) => {
    const row = document.createElement("li");
    for (const part of ["name", "x", "y"]) {
      const input = document.createElement("input");
      input.className = part;
      input.setAttribute("aria-label", `${part} of keypoint ${number}`);
      if (part !== "name") Object.assign(input, { type: "number", step: "any" });
      input.value = part === "name" ? point.name : Math.round(point[part] * 10) / 10;
      input.addEventListener("change", () => {
        point[part] = part === "name" ? input.value : parseFloat(input.value) || 0;
        changed();
      });
      row.append(input, " ");
    }
    const gone = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    gone.setAttribute("aria-label", `remove keypoint ${number}`);
    gone.addEventListener("click", () => { state.points.splice(number, 1); listPoints(); changed(); });
    row.append(gone);
    return row;
  }));
}

// Pairs of numbers; raises what is wrong with them, or leaves it out where `lax`.
function edges(lax) {
  const found = [];
  for (const word of $("edges").value.trim().split(/[\s,]+/).filter(Boolean)) {
    const pair = word.split("-").map(Number), count = state.points.length;
    const fits = pair.length === 2 && pair.every((i) => Number.isInteger(i) && i >= 0 && i < count) && pair[0] !== pair[1];
    if (fits) found.push(pair);
    else if (!lax) throw new Error(`edge ${word} isn't between two of the keypoints 0 to ${count - 1}`);
  }
  return found;
}

// The points as a template: in the box, or in the smallest one around them.
function placed(lax = true) {
  const xs = state.points.map((p) => p.x), ys = state.points.map((p) => p.y);
  const low = [Math.min(...xs), Math.min(...ys)];
  const [x, y, width, height] = state.box || [...low, Math.max(...xs) - low[0], Math.max(...ys) - low[1]];
  if (!(width > 0 && height > 0)) {
    if (lax) return null;
    throw new Error("the keypoints' box has no width or no height: draw the object's box");
  }
  return {
    format: "capetune-template", schema: 1, category: "", made_of: `${xs.length} points placed by hand`,
    names: state.points.map((p) => p.name), xy: state.points.map((p) => [(p.x - x) / width, (p.y - y) / height]), edges: edges(lax),
  };
}

$("save").addEventListener("click", () => {
  try {
    const { template } = wanted(false);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(template, null, 1)], { type: "application/json" }));
    link.download = "template.json";
    link.click();
    URL.revokeObjectURL(link.href);
    say("");
  } catch (error) {
    say(error.message);
  }
});
