"""Two threads draining a two-member fanout group, against one thread draining both members."""

import time

from .network import realtime
from .pairing import Rounds
from .peers import BUILD, Receiver

# Enough for milliseconds of work, so that a late start does not count; both rings hold their half.
FRAMES = {"64": 400_000, "imix": 150_000}


def run(suite):
    group = Receiver(realtime([f"{BUILD}/many-ours", "handles=2", "fanout=1",
                               f"device={suite.sender.fill_device}"]))
    try:
        for label, frames in FRAMES.items():
            suite.results.note("fanout", **{f"frames_{label}": frames})
            found = one_size(suite, group, label, frames)
            suite.results.compare(f"fanout/{label}", found, ["two_threads"], "ns/frame")
    finally:
        group.close()


def one_size(suite, group, label, frames):
    found = Rounds()
    for turn in suite.progress(range(suite.rounds(25) + 2), f"fanout/{label}"):
        row = {}
        for name, threads in (("one_thread", 1), ("two_threads", 2)):
            suite.sender.fill(frames, 0 if label == "imix" else int(label))
            time.sleep(0.2)
            answer = group.ask(f"go {frames} {threads}")
            if answer["frames"] >= frames:
                row[name] = answer["ns"]
        if turn >= 2:
            found.add(row)
    return found
