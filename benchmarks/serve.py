"""What serving costs: a question's time at 1, 8 and 32 clients, beside the model's own work on as many pictures.

Each client asks for 17 keypoints in a picture of 640×480 pixels, and asks again when it has its answer. `forward` is
the model's batch of as many crops, cut already; they take turns.
"""

from __future__ import annotations

import base64
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from harness import options, record
from rich.console import Console
from rich.table import Table

import capetune
from capetune.config import load_preset
from capetune.events import ignore
from capetune.models.estimator import PoseEstimator
from capetune.prediction.model import Model, box_in
from capetune.prediction.template import Template
from capetune.runs.checkpoints import CheckpointMeta
from capetune.service.serve import Server
from capetune.training.checkpoint import save_checkpoint

CLIENTS = (1, 8, 32)
SECONDS = 4.0  # of asking, in each turn


def picture(rng: np.random.Generator) -> np.ndarray:
    """Smooth noise, of a photograph's size as JPEG."""
    return cv2.resize(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)


def asked(server: Server, body: bytes, clients: int) -> tuple[list[float], float]:
    """Seconds of each question, and questions answered a second."""
    times: list[list[float]] = [[] for _ in range(clients)]
    end = time.perf_counter() + SECONDS

    def ask(mine: list[float]) -> None:
        place = urlsplit(server.url)
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)
        while (begun := time.perf_counter()) < end:
            connection.request("POST", "/api/predict", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
            mine.append(time.perf_counter() - begun)
        connection.close()

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in times]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [seconds for mine in times for seconds in mine]
    return every, len(every) / (time.perf_counter() - begun)


def main() -> None:
    arguments = options(__doc__, rounds=4)
    rng = np.random.default_rng(0)
    config, image = load_preset("demo").with_overrides({"model.backbone.weights": "none"}), picture(rng)
    template = Template.of(rng.random((17, 2)), [(k, k + 1) for k in range(16)])
    data = base64.b64encode(cv2.imencode(".jpg", image)[1].tobytes()).decode()
    body = json.dumps({"template": template.to_json(), "pictures": [{"data": data}]}).encode()
    with tempfile.TemporaryDirectory() as place:
        checkpoint = Path(place) / "model"
        meta = CheckpointMeta(config, 1, {"mpck4": 0.0}, {"pack": f"{place}/none", "data": "synthetic", "split": 1})
        estimator = PoseEstimator(config.model)
        save_checkpoint(checkpoint, estimator, meta, {})
        model = Model(estimator.eval(), meta)
        box = box_in(image, None)
        crop = model.crop(image, box), box
        times: dict[int, list[float]] = {count: [] for count in CLIENTS}
        rates: dict[int, list[float]] = {count: [] for count in CLIENTS}
        forward: dict[int, list[float]] = {count: [] for count in CLIENTS}
        with capetune.serve(checkpoint=checkpoint, port=0, listener=ignore) as server:
            for turn in range(arguments.rounds + 1):
                for count in CLIENTS:
                    seconds, rate = asked(server, body, count)
                    own, end = [], time.perf_counter() + SECONDS / 2
                    while (begun := time.perf_counter()) < end:
                        model.predict_groups([(template, [crop] * count)])
                        own.append(time.perf_counter() - begun)
                    if turn:  # the first isn't counted
                        forward[count] += own
                        times[count] += seconds
                        rates[count].append(rate)
    table = Table("clients", "p50, ms", "p99, ms", "forward of as many, ms", "p50 × forward", "answers a second")
    for count in CLIENTS:
        p50, p99 = (float(np.percentile(times[count], share)) for share in (50, 99))
        own = statistics.median(forward[count])
        row = {"clients": count, "p50": p50, "p99": p99, "forward": own, "ratio": p50 / own}
        row |= {"questions": len(times[count]), "rate": statistics.median(rates[count]), "size": config.data.size}
        values = (f"{p50 * 1e3:.0f}", f"{p99 * 1e3:.0f}", f"{own * 1e3:.0f}", f"{p50 / own:.2f}", f"{row['rate']:.1f}")
        table.add_row(str(count), *values)
        record("serve", {"benchmark": "serve", **row}, arguments.save)
    Console().print(table)


if __name__ == "__main__":
    main()
