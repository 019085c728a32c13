"""Everything happens in one network namespace that the suite makes for itself."""

import json
import os
import subprocess
import sys

NEAR, FAR = "va", "vb"  # a veth pair: senders use NEAR, receivers FAR
JUMBO = 9000


def enter_namespace():
    """Re-executes this program in a new network namespace, with or without root."""
    if os.environ.get("PKTRING_BENCH_NETNS"):
        return
    os.environ["PKTRING_BENCH_NETNS"] = "1"
    flags = ["-n"] if os.geteuid() == 0 else ["-Urn"]
    command = ["unshare", *flags, sys.executable, *sys.argv]
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"bench: cannot make a network namespace: {error} (unshare is in util-linux)")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def make_links():
    for knob in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{knob}/disable_ipv6"
        if os.path.exists(path):
            with open(path, "w") as file:
                file.write("1")
    ip("link", "set", "lo", "up")
    ip("link", "add", NEAR, "mtu", str(JUMBO), "type", "veth", "peer", "name", FAR, "mtu", str(JUMBO))
    ip("link", "set", NEAR, "up")
    ip("link", "set", FAR, "up")


def received(device):
    """Frames that came in at a device, by its own counters in this namespace."""
    with open("/proc/net/dev") as file:
        for line in file:
            name, _, numbers = line.partition(":")
            if name.strip() == device:
                return int(numbers.split()[1])
    raise LookupError(device)


class Sender:
    """The generator. With bpf() it feeds lo directly; without, sendmmsg feeds the veth pair."""

    def __init__(self, binary):
        self.binary = binary
        self.how = self.run(count=64, size=64)["how"]
        self.fill_device = "lo" if self.how == "xdp" else FAR

    def run(self, **options):
        command = [self.binary, *(f"{name}={value}" for name, value in options.items())]
        answer = subprocess.run(boosted(command), stdout=subprocess.PIPE, check=True, timeout=120)
        return json.loads(answer.stdout)

    def fill(self, count, size):
        """Puts `count` frames into every ring bound to `fill_device`."""
        return self.run(device="lo" if self.how == "xdp" else NEAR, count=count, size=size)

    def flood(self, count, size):
        """As fast as it goes, over the veth pair."""
        extra = {"peer": FAR} if self.how == "xdp" else {}
        return self.run(device=NEAR, count=count, size=size, **extra)

    def pace(self, count, size, rate):
        return self.run(device=NEAR, count=count, size=size, rate=rate)


def permitted(prefix):
    return subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0


_prefixes = {}


def prefixed(prefix, command):
    """Adds a scheduling prefix where this user may have it."""
    if prefix not in _prefixes:
        _prefixes[prefix] = permitted(prefix)
    return [*prefix, *command] if _prefixes[prefix] else command


def boosted(command):
    return prefixed(("nice", "-n", "-20"), command)


def realtime(command):
    return prefixed(("chrt", "-f", "5"), command)
