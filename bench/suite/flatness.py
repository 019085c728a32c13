"""Does the cost of a frame stay flat as the work grows? Ring size, number of handles, frame
size. Each row is a ratio to the middle of its own range, measured in the same rounds."""

import time

from .network import FAR, NEAR, realtime
from .pairing import Rounds, shuffled
from .peers import BUILD, Receiver, command

MIB = 1 << 20
RINGS = [1, 4, 16, 64, 256, 1024, 8192]
HANDLES = [1, 4, 16, 64]
SIZES = [60, 256, 1024, 1514, 4096, 9000]


def record(suite, prefix, found, middle, unit="ns/frame"):
    for name in found.names():
        suite.results.figure(f"{prefix}/{name}", found.values(name), unit)
        if name != middle:
            suite.results.ratio(f"{prefix}/{name}/{middle}", found.ratios(name, middle))


def rings(suite):
    """All rings open at once; the fill fits the smallest, so only the ring differs."""

    with open("/proc/meminfo") as file:
        room = next(int(line.split()[1]) >> 10 for line in file if line.startswith("MemAvailable"))
    sizes = [mib for mib in RINGS if 2 * mib < room]
    if sizes != RINGS:
        suite.say(f"flatness/ring: {room} MiB free, largest ring measured is {sizes[-1]} MiB")
    receivers = {
        f"{mib}MiB": Receiver(realtime(command("drain", "next_frame", ring=mib * MIB,
                                               device=suite.sender.fill_device)), patience=180)
        for mib in sizes
    }
    found, frames = Rounds(), 3000
    for turn in suite.progress(range(suite.rounds(40) + 3), "flatness/ring"):
        suite.sender.fill(frames, 64)
        time.sleep(0.12)
        row = {name: receivers[name].ask(f"go {frames}")["ns"] for name in shuffled(receivers)}
        if turn >= 3:
            found.add(row)
    for receiver in receivers.values():
        receiver.close()
    record(suite, "flatness/ring", found, "64MiB")


def handles(suite):
    """Every handle gets every frame; the cost of one frame must not know how many there are."""
    groups = {
        f"{count}": Receiver(realtime([f"{BUILD}/many-ours", f"handles={count}", f"ring={4 * MIB}",
                                       f"device={suite.sender.fill_device}"]), patience=60)
        for count in HANDLES
    }
    found, frames = Rounds(), 8000
    for turn in suite.progress(range(suite.rounds(20) + 2), "flatness/handles"):
        suite.sender.fill(frames, 64)
        time.sleep(0.12)
        row = {name: groups[name].ask(f"go {frames} 1")["ns"] for name in shuffled(groups)}
        if turn >= 2:
            found.add(row)
    for group in groups.values():
        group.close()
    record(suite, "flatness/handles", found, "4")


def sizes(suite):
    """Frames up to jumbo by socket over the veth pair; 64 KiB ones by segmentation offload."""
    receiver = Receiver(realtime(command("drain", "next_frame", device=FAR)))
    found, frames = Rounds(), 1000
    cases = {f"{size}": {"size": size} for size in SIZES}
    cases["64KiB_gso"] = {"size": 65000, "how": "gso"}
    for turn in suite.progress(range(suite.rounds(20) + 2), "flatness/size"):
        row = {}
        for name in shuffled(cases):
            count = min(frames, 8 * MIB // cases[name]["size"])
            suite.sender.run(device=NEAR, count=count, **{"how": "socket", **cases[name]})
            time.sleep(0.12)
            answer = receiver.ask(f"go {count}")
            if answer["frames"] >= count:
                row[name] = answer["ns"]
        if turn >= 2:
            found.add(row)
    receiver.close()
    record(suite, "flatness/size", found, "1514")


def run(suite):
    for part in (rings, handles, sizes):
        part(suite)
