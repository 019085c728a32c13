"""Burst loss: 40,000 frames at full speed, one microsecond of work on each, default settings."""

import time

from .network import boosted
from .pairing import shuffled
from .peers import Receiver, command, family, present

FRAMES, WORK = 40_000, 1000
OURS = ["next_frame", "dispatch"]
PEERS = ["pcap_dispatch", "pcap_next_ex", "hand_v2", "hand_v3", "netring_batch", "gopacket",
         "recvmmsg"]


def lost(suite, name, size):
    # a hand-written loop has no default; it gets libpcap's 2 MiB
    options = {"ring": 2 << 20} if family(name) == "hand" else {}
    receiver = Receiver(boosted(command("receive", name, device=suite.sender.fill_device,
                                        work=WORK, **options)))
    suite.sender.fill(FRAMES, size)
    time.sleep(0.4)
    return max(0, FRAMES - receiver.stop()["frames"])


def run(suite):
    names = present("receive", [*OURS, *PEERS], suite.results.missing)
    for label, size in (("64", 64), ("imix", 0)):
        found = {name: [] for name in names}
        for _ in suite.progress(range(suite.rounds(5)), f"burst/{label} ({len(names)} receivers)"):
            for name in shuffled(names):
                found[name].append(lost(suite, name, size))
        for name in names:
            suite.results.figure(f"burst/{label}/{name}", [100 * n / FRAMES for n in found[name]],
                                 "% lost")
        for ours in (name for name in OURS if name in names):
            for peer in names:
                # 0 of 0 lost is a draw; against a peer that lost nothing, frames count singly
                ratios = [1.0 if mine == theirs else mine / max(theirs, 1)
                          for mine, theirs in zip(found[ours], found[peer])]
                if peer != ours:
                    suite.results.ratio(f"burst/{label}/{ours}/{peer}", ratios)
