"""Receive drain: every ring is filled by one and the same burst, then each receiver empties its
own in random order. Measures user space alone, on cold memory, as a receiver meets it."""

import time

from .network import realtime
from .pairing import TWIN, Noisy, Rounds, shuffled
from .peers import Receiver, command, family, present

MIB = 1 << 20
# frames a fill: all fit the library's default ring, and 64 MiB of anybody else's
FRAMES = {"64": 50_000, "imix": 16_000, "1514": 6_000}
RETIRE, SETTLE = 200, 0.3  # milliseconds, seconds: the last block retires by time
PRIMARY = "next_frame"
OURS = [PRIMARY, "next_batch", "dispatch", "block"]
PEERS = ["pcap_dispatch", "pcap_next_ex", "hand_v1", "hand_v2", "hand_v3", "netring_batch",
         "netring_next", "gopacket", "recvfrom", "recvmmsg"]


def bytes_of(size):
    return 0 if size == "imix" else int(size)


def settings(name, frames):
    """The library's default ring; rings that hold the whole fill for the others. A short retire
    timeout would use up blocks while a fill is slow, and is no part of the cost of a drain."""
    if family(name) == "ours":
        return {"retire": RETIRE}
    slots = 2048 * (frames + 2048) if name in ("hand_v1", "hand_v2") else 64 * MIB
    return {"ring": (slots // MIB + 1) * MIB, "retire": RETIRE}


class Field:
    """All receivers, open and bound at once."""

    def __init__(self, sender, names, frames, options=settings):
        self.sender, self.frames = sender, frames
        self.receivers = {
            name: Receiver(realtime(command("drain", name, device=sender.fill_device,
                                            **options(name, frames))))
            for name in names
        }

    def round(self, size):
        self.sender.fill(self.frames, bytes_of(size))
        time.sleep(SETTLE)
        row = {}
        for name in shuffled(self.receivers):
            answer = self.receivers[name].ask(f"go {self.frames}")
            if answer["frames"] >= self.frames:
                row[name] = answer["ns"]
        return row

    def close(self):
        for receiver in self.receivers.values():
            receiver.close()


def measure(suite, prefix, names, size, frames, rounds, options=settings, tolerance=0.07):
    """One paired run, repeated when the twin says the machine was too noisy."""
    for attempt in range(suite.attempts):
        field, found = Field(suite.sender, [*names, names[0] + TWIN], frames, options), Rounds()
        try:
            for turn in suite.progress(range(rounds + 2), f"{prefix} ({len(names)} receivers)"):
                row = field.round(size)
                if turn >= 2:  # the first two warm caches, page tables and clocks
                    found.add(row)
        finally:
            field.close()
        try:
            dropped = found.keep_quiet(names[0], 1.5)
            return found, found.check_twin(names[0], tolerance), dropped
        except Noisy as reason:
            suite.say(f"{prefix}: rejected, {reason} (attempt {attempt + 1} of {suite.attempts})")
            suite.results.reject(prefix, str(reason))
    return None, None, None


def run(suite):
    names = present("drain", [*OURS, *PEERS], suite.results.missing)
    ours = [name for name in OURS if name in names]
    for size, frames in FRAMES.items():
        prefix = f"drain/{size}"
        found, twin, dropped = measure(suite, prefix, names, size, frames, suite.rounds(25))
        if not found:
            continue
        suite.results.rejected.pop(prefix, None)
        suite.results.compare(prefix, found, ours, "ns/frame")
        suite.results.note("drain", **{f"twin_{size}": twin, f"dropped_rounds_{size}": dropped})


def run_quick(suite):
    """The same with the few participants a developer compares while changing the hot path."""
    names = present("drain", [*OURS[:1], *OURS[2:], "pcap_dispatch", "hand_v3"],
                    suite.results.missing)
    for size, frames in FRAMES.items():
        found, twin, _ = measure(suite, f"drain/{size}", names, size, frames, suite.rounds(12))
        if found:
            suite.results.rejected.pop(f"drain/{size}", None)
            suite.results.compare(f"drain/{size}", found, names[:3], "ns/frame")
            suite.results.note("drain", **{f"twin_{size}": twin})
