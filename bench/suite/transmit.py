"""Transmit CPU per frame on the wire: what counts is what the device at the other end counted."""

import json
import os
import subprocess
import tempfile
import time

from .network import FAR, NEAR, boosted, prefixed, received
from .pairing import TWIN, Noisy, Rounds, shuffled
from .peers import binary, command, family, present

PRIMARY = "tx_ring"
OURS = [PRIMARY, "tx_ring@batch=32", "tx_ring@batch=256", "tx_copy", "tx_copy@batch=32",
        "tx_copy@batch=256", "inject_batch", "inject_batch@protocol=0x0800", "inject", "gso"]
PEERS = ["sendmmsg", "sendmmsg@protocol=0x0800", "sendmmsg@bypass=1", "send", "pcap_inject",
         "hand_ring_v2", "gopacket_write", "netring_inject", "trafgen"]
COUNT = 100_000


def trafgen(size):
    """Its own program and packet language; CPU time by wait4."""
    header = "0x02,0,0,0,0,0x99,0x02,0,0,0,0,1,0x08,0,0x45,0,0,50,0,0,0,0,64,17"
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write("{ %s, fill(0, %d) }\n" % (header, size - 24))
        file.flush()
        words = [binary("transmit", "trafgen"), "--dev", NEAR, "--conf", file.name, "--cpus", "1",
                 "-n", str(COUNT), "-q"]
        process = subprocess.Popen(boosted(prefixed(("taskset", "-c", "0"), words)),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return {"cpu_ns": (usage.ru_utime + usage.ru_stime) * 1e9, "sent": COUNT}


def once(name, size):
    before = received(FAR)
    if name == "trafgen":
        answer = trafgen(size)
    else:
        words = boosted(command("transmit", name, device=NEAR, size=size, count=COUNT))
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=60)
        answer = json.loads(done.stdout)
    time.sleep(0.02)
    answer["arrived"] = received(FAR) - before
    return answer


def measure(suite, prefix, names, size, rounds):
    for attempt in range(suite.attempts):
        cpu, delivered = Rounds(), {name: [] for name in names}
        for _ in suite.progress(range(rounds), f"{prefix} ({len(names)} senders)"):
            row = {}
            for name in shuffled([*names, names[0] + TWIN]):
                answer = once(name, size)
                delivered.setdefault(name, []).append(answer["arrived"] / max(1, answer["sent"]))
                if answer["arrived"] >= COUNT // 2:
                    row[name] = answer["cpu_ns"] / answer["arrived"]
            cpu.add(row)
        try:
            dropped = cpu.keep_quiet(names[0], 1.4)
            return cpu, delivered, cpu.check_twin(names[0], 0.06), dropped
        except Noisy as reason:
            suite.say(f"{prefix}: rejected, {reason} (attempt {attempt + 1} of {suite.attempts})")
            suite.results.reject(prefix, str(reason))
    return None, None, None, None


def segment_before_the_wire(on):
    """Whether frames for segmentation are cut before the veth, so that its counters see each
    frame as a wire would; by itself it passes them on whole."""
    words = ["ethtool", "-K", NEAR, "tx-udp-segmentation", "off" if on else "on"]
    try:
        return subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def run(suite):
    cut = segment_before_the_wire(True)
    try:
        run_all(suite, [name for name in OURS if cut or name != "gso"])
    finally:
        segment_before_the_wire(False)
    if not cut:
        suite.results.missing["ethtool"] = "segmentation offload: install ethtool"


def run_all(suite, mine):
    everyone = present("transmit", [*mine, *PEERS], suite.results.missing)
    for label, size in (("64", 64), ("imix", 0), ("1514", 1514)):
        prefix = f"transmit/{label}"
        # programs with one frame of their own cannot send IMIX, nor is it one flow of one size
        names = [n for n in everyone if label != "imix" or
                 (family(n) not in ("trafgen", "netring", "gopacket") and n != "gso")]
        cpu, delivered, twin, dropped = measure(suite, prefix, names, size, suite.rounds(9))
        if not cpu:
            continue
        suite.results.rejected.pop(prefix, None)
        suite.results.compare(prefix, cpu, [n for n in OURS if n in names], "CPU ns/frame")
        for name in names:
            suite.results.figure(f"{prefix}/{name}/delivered",
                                 [100 * share for share in delivered[name]], "% of frames sent")
        suite.results.note("transmit", **{f"twin_{label}": twin, f"dropped_rounds_{label}": dropped})
