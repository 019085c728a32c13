"""Instructions a frame costs, by callgrind: the slope between 50,000 and 150,000 frames, so that
start-up does not count. Free of noise; only the standard library is needed here, because
`bench/instructions` runs alone in CI."""

import json
import os
import re
import subprocess
import tempfile
import time

from .network import NEAR
from .peers import ROOT, Receiver, command, present

BASELINE = os.path.join(ROOT, "bench", "instructions.json")
FEW, MANY = 50_000, 150_000
RECEIVE = ["next_frame", "next_batch", "dispatch", "block", "next_frame_v2", "next_frame_latency"]
RECEIVE_PEERS = ["hand_v3", "hand_v2", "pcap_dispatch", "pcap_next_ex"]
TRANSMIT = ["tx_ring", "tx_copy", "inject", "inject_batch", "gso"]
TRANSMIT_PEERS = ["sendmmsg", "pcap_inject", "hand_ring_v2"]
GROWTH = 1.03
# rings that hold the larger fill of 64-byte frames; many blocks, so that the retire timeout
# cannot use them all up while a fill is slow
RING = {"ring": 64 << 20, "block": 1 << 20, "retire": 200, "slot": 128}


def callgrind(words, folder, tag):
    return ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={folder}/{tag}", *words]


def total(folder, tag):
    with open(f"{folder}/{tag}") as file:
        match = re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M)
    return int(match.group(1))


def receive_totals(sender, names, frames, folder):
    """All receivers at once: one fill reaches every ring while they wait for their turn."""
    receivers = {}
    for name in names:
        options = {"device": sender.fill_device, **RING}
        words = callgrind(command("drain", name, **options), folder, name)
        receivers[name] = Receiver(words, patience=120)
    sender.fill(frames, 64)
    time.sleep(0.5)
    totals = {}
    for name, receiver in receivers.items():
        answer = receiver.ask(f"go {frames}", patience=120)
        if answer["frames"] < frames:
            raise RuntimeError(f"{name} drained {answer['frames']} of {frames} frames")
        receiver.close()
        totals[name] = total(folder, name)
    return totals


def transmit_totals(names, frames, folder):
    totals = {}
    for name in names:
        words = command("transmit", name, device=NEAR, size=64, count=frames)
        done = subprocess.run(callgrind(words, folder, name), stdout=subprocess.PIPE, check=True)
        if json.loads(done.stdout)["sent"] < frames:
            raise RuntimeError(f"{name} sent too little")
        totals[name] = total(folder, name)
    return totals


def slope(few, many):
    return {name: round((many[name] - few[name]) / (MANY - FEW), 2) for name in few}


def count(sender, missing):
    """Instructions per frame: {"receive": {...}, "transmit": {...}}."""
    receive = present("drain", [*RECEIVE, *RECEIVE_PEERS], missing)
    transmit = present("transmit", [*TRANSMIT, *TRANSMIT_PEERS], missing)
    with tempfile.TemporaryDirectory() as folder:
        return {
            "receive": slope(receive_totals(sender, receive, FEW, folder),
                             receive_totals(sender, receive, MANY, folder)),
            "transmit": slope(transmit_totals(transmit, FEW, folder),
                              transmit_totals(transmit, MANY, folder)),
        }


def compilers():
    def first_line(*words):
        return subprocess.run(words, stdout=subprocess.PIPE).stdout.decode().splitlines()[0]
    return {"rustc": first_line("rustc", "--version"), "cc": first_line("cc", "--version")}


def ours_only(counts):
    return {"receive": {n: counts["receive"][n] for n in RECEIVE if n in counts["receive"]},
            "transmit": {n: counts["transmit"][n] for n in TRANSMIT if n in counts["transmit"]}}


def save_baseline(counts):
    with open(BASELINE, "w") as file:
        json.dump({"compilers": compilers(), "frame_bytes": 64, **counts}, file, indent=1)
        file.write("\n")


def compare_to_baseline(counts):
    """Complaints: one line for each path that grew by more than 3 %, or is gone."""
    with open(BASELINE) as file:
        baseline = json.load(file)
    complaints = []
    for direction, paths in ours_only(baseline).items():
        for name, before in paths.items():
            now = counts[direction].get(name)
            if now is None:
                complaints.append(f"{direction} {name}: not measured, baseline {before}")
            elif now > before * GROWTH:
                complaints.append(f"{direction} {name}: {now} instructions a frame, "
                                  f"baseline {before} (+{100 * (now / before - 1):.1f} %)")
    if complaints and baseline["compilers"] != compilers():
        complaints.append(f"the baseline was compiled with {baseline['compilers']}, "
                          f"this with {compilers()}")
    return complaints


def run(suite):
    if subprocess.run(["sh", "-c", "command -v valgrind"], stdout=subprocess.DEVNULL).returncode:
        suite.results.missing["valgrind"] = "instruction counts: install valgrind"
        return
    suite.say("instructions: callgrind, about half a minute")
    counts = count(suite.sender, suite.results.missing)
    for direction, paths in counts.items():
        mine = ours_only(counts)[direction]
        for name, value in paths.items():
            suite.results.figure(f"instructions/{direction}/{name}", value, "instructions/frame")
        for ours in mine:
            for peer in paths:
                if peer != ours:
                    suite.results.ratio(f"instructions/{direction}/{ours}/{peer}",
                                        [paths[ours] / paths[peer]])
