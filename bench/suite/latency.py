"""Latency of single frames on an idle link, and the CPU it costs to wait for them."""

import os
import subprocess
import time

from .network import FAR, NEAR, boosted
from .pairing import TWIN, Noisy, Rounds, shuffled
from .peers import Receiver, binary, command, present

PRIMARY = "next_frame_latency"
OURS = [PRIMARY, "next_frame_latency@spin=5000", "next_frame"]
if os.access("/dev/cpu_dma_latency", os.W_OK):
    OURS.insert(2, "next_frame_latency@awake=1")
PEERS = ["pcap_immediate", "pcap_dispatch@retire=1", "hand_v2", "hand_v3@retire=1", "recvfrom"]
COUNT, GAP = 200, 2000


def once(suite, name):
    receiver = Receiver(boosted(command("latency", name, device=FAR)))
    sender = [binary("latency", "hand"), "send", f"device={NEAR}", f"count={COUNT}", f"gap={GAP}"]
    subprocess.run(boosted(sender), check=True, timeout=60)
    time.sleep(0.2)
    return receiver.stop()


def measure(suite, names, rounds):
    for attempt in range(suite.attempts):
        found = {what: Rounds() for what in ("p50", "p90", "p99", "cpu_us")}
        for _ in suite.progress(range(rounds), f"latency ({len(names)} receivers)"):
            answers = {name: once(suite, name) for name in shuffled([*names, names[0] + TWIN])}
            for what, table in found.items():
                table.add({name: answer[what] for name, answer in answers.items()})
        try:
            return found, found["p50"].check_twin(names[0], 0.15)
        except Noisy as reason:
            suite.say(f"latency: rejected, {reason} (attempt {attempt + 1} of {suite.attempts})")
            suite.results.reject("latency", str(reason))
    return None, None


def run(suite):
    names = present("latency", [*OURS, *PEERS], suite.results.missing)
    found, twin = measure(suite, names, suite.rounds(14))
    if not found:
        return
    suite.results.rejected.pop("latency", None)
    ours = [name for name in OURS if name in names]
    for what, table in found.items():
        label = what.removesuffix("_us")
        suite.results.compare(f"latency/{label}", table, ours,
                              "CPU us/frame" if label == "cpu" else "us")
    suite.results.note("latency", twin=twin)
