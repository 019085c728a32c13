"""Ring density: how many frames one MiB of ring holds while nobody reads. Exact, no noise."""

import time

from .peers import Receiver, command, family, present

RING = 16 << 20
SLOT = {"64": 64, "256": 256, "1514": 1514, "imix": 1514}
NAMES = ["next_frame", "next_frame_v2", "hand_v1", "hand_v2", "hand_v3", "pcap_dispatch",
         "pcap_immediate", "netring_batch", "gopacket"]


def held(suite, name, label, size):
    """Overfills a stopped receiver's ring, then counts what can be read out of it."""
    options = {"ring": RING, "retire": 2000}
    if name == "next_frame_v2":
        options["slot"] = SLOT[label]  # its calculator fits the slots to the snaplen
    receiver = Receiver(command("drain", name, device=suite.sender.fill_device, **options))
    suite.sender.fill(250_000, size)
    time.sleep(2.1)  # the last block retires by time
    frames = receiver.ask("go 249000", patience=60)["frames"]
    receiver.close()
    return frames * (1 << 20) / RING


def run(suite):
    names = present("drain", NAMES, suite.results.missing)
    for label in SLOT:
        size = 0 if label == "imix" else int(label)
        found = {name: held(suite, name, label, size)
                 for name in suite.progress(names, f"density/{label}")}
        for name, per_mib in found.items():
            suite.results.figure(f"density/{label}/{name}", per_mib, "frames/MiB")
        for ours in (name for name in names if family(name) == "ours"):
            for peer in names:
                if peer != ours and found[ours]:
                    suite.results.ratio(f"density/{label}/{ours}/{peer}",
                                        [found[peer] / found[ours]])
