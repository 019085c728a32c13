"""Which programs there are, who lives in which, and what is missing here and why."""

import json
import os
import select
import shutil
import signal
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "bench")

OURS = ("next_frame", "next_batch", "dispatch", "block", "next_frame_v2", "next_frame_v2_nap",
        "next_frame_latency", "tx_ring", "tx_copy", "inject", "inject_batch", "gso")
FAMILIES = {
    "ours": OURS,
    "hand": ("hand_v1", "hand_v2", "hand_v2_nap", "hand_v3"),
    "sockets": ("recvfrom", "recvmmsg", "send", "sendmmsg", "hand_ring_v2"),
    "pcap": ("pcap_dispatch", "pcap_next_ex", "pcap_immediate", "pcap_inject"),
    "netring": ("netring_batch", "netring_next", "netring_inject"),
    "gopacket": ("gopacket", "gopacket_write"),
}
INSTALL = {
    "pcap": "libpcap: install libpcap-dev",
    "netring": "netring: needs cargo and crates.io",
    "gopacket": "gopacket: install golang-go golang-github-google-gopacket-dev",
    "tcpdump": "tcpdump: install tcpdump",
    "trafgen": "trafgen: install netsniff-ng",
    "valgrind": "instruction counts: install valgrind",
}


def family(name):
    base = name.split("@")[0].removesuffix("~twin")
    for key, members in FAMILIES.items():
        if base in members:
            return key
    return base  # a program of its own: tcpdump, trafgen


def binary(job, name):
    """The program that does `job` for receiver or sender `name`, or None if it is not here."""
    key = family(name)
    if key in ("tcpdump", "trafgen"):
        return shutil.which(key) or shutil.which(f"/usr/sbin/{key}")
    path = os.path.join(BUILD, f"{key}-peer" if key in ("netring", "gopacket") else f"{job}-{key}")
    return path if os.path.exists(path) else None


def command(job, name, **options):
    """`name` may carry options of its own: tx_ring@batch=32; ~twin marks the A/A copy."""
    base, *own = name.removesuffix("~twin").split("@")
    words = [f"{key}={value}" for key, value in options.items() if value is not None]
    head = [binary(job, name)]
    if family(name) in ("netring", "gopacket"):
        head.append(job)
    return [*head, base, *own, *words]  # the first of two equal keys wins


def present(job, names, missing):
    """Those of `names` that can run here; the others are noted in `missing`."""
    here = []
    for name in names:
        if binary(job, name):
            here.append(name)
        else:
            key = family(name)
            missing[key] = INSTALL.get(key, f"{key}: not built")
    return here


class Receiver:
    """A running receiver that has said "ready"."""

    def __init__(self, words, patience=30):
        self.words = words
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.line(patience) != "ready":
            raise RuntimeError(f"{' '.join(words)} did not start")

    def line(self, patience):
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self.process.kill()
            raise RuntimeError(f"{' '.join(self.words)} says nothing")
        return self.process.stdout.readline().decode().strip()

    def ask(self, question, patience=20):
        self.tell(question)
        return json.loads(self.line(patience))

    def tell(self, question):
        self.process.stdin.write(f"{question}\n".encode())
        self.process.stdin.flush()

    def stop(self, patience=20):
        """Ends a measurement and returns its answer."""
        self.process.send_signal(signal.SIGTERM)
        answer = self.line(patience)
        self.close()
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
