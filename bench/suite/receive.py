"""End-to-end receiver CPU per frame over a veth pair: saturated and at 200,000 frames a second.
Everyone runs with the defaults a newcomer gets; CPU is that of the whole receiving process."""

import os
import re
import signal
import subprocess
import time

from .network import FAR, boosted, prefixed
from .pairing import TWIN, Noisy, Rounds, shuffled
from .peers import Receiver, binary, command, family, present

PRIMARY = "next_frame"
OURS = [PRIMARY, "dispatch", "next_frame_v2", "next_frame_v2_nap"]
PEERS = ["pcap_dispatch", "pcap_next_ex", "pcap_immediate", "hand_v1", "hand_v2", "hand_v2_nap",
         "hand_v3", "netring_batch", "gopacket", "recvfrom", "recvmmsg", "tcpdump"]
FRAMES, RATE = 500_000, 200_000
SETTLE = 0.15


def settings(name):
    """Defaults; only what has none gets the 64 MiB its document suggests for busy links."""
    if family(name) in ("hand", "sockets"):
        return {"ring": 64 << 20}
    if name.startswith("next_frame_v2"):
        return {"slot": 128, "ring": 8 << 20} # fitted: the frames here need no larger slot
    return {}


def tcpdump(flood):
    """A whole program; its CPU time is taken from wait4 and includes its start."""
    words = [binary("receive", "tcpdump"), "-i", FAR, "-n", "-w", "/dev/null"]
    if os.geteuid() == 0:
        words += ["-Z", "root"]
    process = subprocess.Popen(boosted(prefixed(("taskset", "-c", "1"), words)),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.set_blocking(process.stderr.fileno(), True)
    text = process.stderr.readline().decode()  # "listening on ..."
    flood()
    time.sleep(1.1)  # tcpdump asks for a one-second buffer timeout
    process.send_signal(signal.SIGINT)
    text += process.stderr.read().decode()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    def count(pattern):
        match = re.search(pattern, text)
        return int(match.group(1)) if match else 0
    return {"frames": count(r"(\d+) packets? captured"),
            "dropped": count(r"(\d+) packets? dropped by kernel"),
            "received": count(r"(\d+) packets? received by filter"),
            "cpu_ns": (usage.ru_utime + usage.ru_stime) * 1e9, "waits": 0}


def once(name, flood, **options):
    """Starts one receiver, floods it, and returns what both sides counted."""
    sent = {}
    def counted_flood():
        sent.update(flood())
    if name == "tcpdump":
        answer = tcpdump(counted_flood)
    else:
        receiver = Receiver(boosted(command("receive", name, device=FAR,
                                            **{**settings(name), **options})))
        try:
            counted_flood()
            time.sleep(SETTLE)
            answer = receiver.stop()
        except Exception:
            receiver.process.kill()
            raise
    answer["sent"], answer["wall_ns"] = sent["sent"], sent["wall_ns"]
    return answer


def measure(suite, prefix, names, flood, rounds, tolerance=0.20, **options):
    """Returns all answers by receiver, and the paired CPU per frame."""
    for attempt in range(suite.attempts):
        cpu, answers = Rounds(), {name: [] for name in names}
        for _ in suite.progress(range(rounds), f"{prefix} ({len(names)} receivers)"):
            row = {}
            for name in shuffled([*names, names[0] + TWIN]):
                answer = once(name, flood, **options)
                if answer["frames"] > answer["sent"] // 20:  # else there is no figure per frame
                    row[name] = answer["cpu_ns"] / answer["frames"]
                answers.setdefault(name, []).append(answer)
            cpu.add(row)
        try:
            dropped = cpu.keep_quiet(names[0], 2.0)
            twin = cpu.check_twin(names[0], tolerance)
            suite.results.rejected.pop(prefix, None)
            return cpu, answers, twin, dropped
        except Noisy as reason:
            suite.say(f"{prefix}: rejected, {reason} (attempt {attempt + 1} of {suite.attempts})")
            suite.results.reject(prefix, str(reason))
    return None, None, None, None


def lost(answer):
    """Per cent of the frames sent that the program never saw."""
    return 100.0 * max(0, answer["sent"] - answer["frames"]) / answer["sent"]


def run(suite):
    names = present("receive", [*OURS, *PEERS], suite.results.missing)
    ours = [name for name in OURS if name in names]
    loads = {
        "64": lambda: suite.sender.flood(FRAMES, 64),
        "imix": lambda: suite.sender.flood(FRAMES, 0),
        "64_200kpps": lambda: suite.sender.pace(RATE // 2, 64, RATE),
    }
    for load, flood in loads.items():
        prefix = f"receive/{load}"
        # slots fitted to 64-byte frames would cut IMIX short: compare only what sees it all
        here = [n for n in names if load != "imix" or not n.startswith("next_frame_v2")]
        cpu, answers, twin, dropped = measure(suite, prefix, here, flood, suite.rounds(7))
        if not cpu:
            continue
        suite.results.compare(prefix, cpu, [n for n in ours if n in here], "CPU ns/frame")
        for name in here:
            suite.results.figure(f"{prefix}/{name}/lost", [lost(a) for a in answers[name]], "%")
            suite.results.figure(f"{prefix}/{name}/waits",
                                 [1000 * a["waits"] / max(1, a["frames"]) for a in answers[name]],
                                 "wake-ups/1000 frames")
        suite.results.note("receive", **{f"twin_{load}": twin, f"dropped_rounds_{load}": dropped})
