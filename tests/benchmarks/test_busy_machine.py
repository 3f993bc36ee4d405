"""A machine that others use too: as many busy loops as processors, and all in one run."""

import json
import os
import subprocess
import sys

MEASURED = """
import json, statistics, subprocess, sys, time
from mrcnn_steps.threads import prepare, processors
prepare()
import torch
from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data import letterbox
from mrcnn_steps.mini_masks import round_trip
from mrcnn_steps.rpn_targets import match

model, photo = load_model("tiny"), sample("voc_people")
t = trace(model, photo)
truth = t.ground_truth
stages = {
    "letterbox": lambda: letterbox(photo.image),
    "mini_masks": lambda: round_trip(truth.masks),
    "anchors": lambda: pyramid((1024, 1024), (8, 16, 32, 64, 128), (32, 64, 128, 256, 512)),
    "rpn_targets": lambda: match(t.anchors, truth.boxes, truth.crowd_boxes),
    "classification": lambda: t.classify(t.proposals.boxes),
    "proposals": lambda: t.with_proposals(t.proposals),
    "masks": lambda: t.with_detections(t.detections),
    "trace": lambda: trace(model, photo),
}

def measure():
    spent = {}
    for name, run in stages.items():
        run()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        spent[name] = statistics.median(times)
    return spent

quiet = measure()
loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processors())]
try:
    busy = measure()
finally:
    for loop in loops:
        loop.kill()
print(json.dumps({name: [quiet[name], busy[name]] for name in stages}))
"""


def test_busy_neighbors_cost_their_share_and_no_more():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept)
    spent = json.loads(done.stdout.splitlines()[-1])
    for name, (quiet, busy) in spent.items():
        print(
            f"{name:15} quiet {quiet * 1e3:7.1f} ms, busy {busy * 1e3:7.1f} ms: {busy / quiet:.1f}"
        )
    assert all(busy <= 3 * quiet for quiet, busy in spent.values()), spent
