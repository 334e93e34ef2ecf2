// Asked and shown.
$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  unfind();
  draw();
  const { picture, box, about } = state;
  try {
    if (!picture) throw new Error("choose a picture first");
    if (about && picture.data.length > about.limits.body) throw new Error(`${picture.name} is too large: up to ${about.limits.body >> 20} MiB are taken, in base64`);
    const asked = { pictures: [{ name: picture.name, data: picture.data, boxes: box && [box] }], ...wanted(false) };
    $("find").disabled = true;
    $("status").textContent = "Looking …";
    const answer = await ask("/api/predict", asked);
    say("");
    if (picture === state.picture) show(answer);
  } catch (error) {
    say(error.message);
  } finally {
    $("find").disabled = false;
    $("status").textContent = "";
  }
});

function show(answer) {
  const [pose] = answer.poses;
  state.found = { keypoints: pose.keypoints, edges: answer.template.edges };
  draw();
  const count = pose.keypoints.length;
  $("scores").textContent = "Pixels of the picture. " + (state.about.calibrated
    ? "A score is the chance that the keypoint lies within a tenth of the box's longer side; below 0.5 it is drawn as a ring."
    : "The scores of this checkpoint aren't calibrated, and mostly too low; below 0.5 a keypoint is drawn as a ring.");
  $("rows").replaceChildren(...pose.keypoints.map((k, number) => {
    const row = document.createElement("tr");
    const dot = Object.assign(document.createElement("span"), { className: "dot" });
    dot.style.background = colour(number, count);
    const name = document.createElement("td");
    name.append(dot, k.name);
    row.append(name, ...[k.x.toFixed(1), k.y.toFixed(1), k.score.toFixed(2)].map((text) =>
      Object.assign(document.createElement("td"), { className: "number", textContent: text })));
    return row;
  }));
  $("found").hidden = false;
  $("stage").scrollIntoView({ block: "nearest" });
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  begin();
});
begin();
