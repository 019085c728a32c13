"""bench/results.json: machine, versions, absolute figures, and the flat map of ratios."""

import json
import os
import platform
import subprocess
import time

from .pairing import interval
from .peers import ROOT

PATH = os.path.join(ROOT, "bench", "results.json")


def output(*words):
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    except OSError:
        return None
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else None


def debian(package):
    return output("dpkg-query", "-W", "-f", "${Version}", package)


def locked_version(lock, package):
    try:
        with open(lock) as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    at = lines.index(f'name = "{package}"') if f'name = "{package}"' in lines else None
    return lines[at + 1].split('"')[1] if at is not None else None


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":")[1].strip()
                break
    return {
        "cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
        "architecture": platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "root": os.geteuid() == 0,
    }


def versions():
    found = {
        "libpktring": locked_version(os.path.join(ROOT, "Cargo.lock"), "pktring"),
        "commit": output("git", "-C", ROOT, "rev-parse", "--short", "HEAD"),
        "rustc": output("rustc", "--version"), "cc": output("cc", "--version"),
        "go": output("go", "version"), "libpcap": debian("libpcap0.8"),
        "tcpdump": debian("tcpdump"), "netsniff-ng": debian("netsniff-ng"),
        "gopacket": debian("golang-github-google-gopacket-dev"), "valgrind": debian("valgrind"),
        "netring": locked_version(os.path.join(ROOT, "bench", "netring", "Cargo.lock"), "netring"),
    }
    return {name: version for name, version in found.items() if version}


class Results:
    """Keeps what an earlier run on the same machine and kernel measured in other groups."""

    def __init__(self):
        self.machine = machine()
        self.groups, self.ratios, self.figures = {}, {}, {}
        self.rejected, self.missing = {}, {}
        try:
            with open(PATH) as file:
                old = json.load(file)
        except (OSError, ValueError):
            return
        if old.get("machine") == self.machine:
            self.groups, self.ratios = old["groups"], old["ratios"]
            self.figures, self.rejected = old["figures"], old.get("rejected", {})

    def begin(self, group):
        for table in (self.ratios, self.figures, self.rejected):
            for key in [key for key in table if key.split("/")[0] == group]:
                del table[key]
        self.groups[group] = {"measured": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}

    def note(self, group, **facts):
        self.groups[group].update(facts)

    def figure(self, key, values, unit):
        """An absolute figure: drifts with the machine, unlike the ratios."""
        values = values if isinstance(values, (list, tuple)) else [values]
        self.figures[key] = {**rounded(interval(values)), "unit": unit}

    def ratio(self, key, values):
        if values:
            self.ratios[key] = rounded(interval(values))

    def reject(self, key, reason):
        self.rejected[key] = reason

    def compare(self, prefix, rounds, mine, unit):
        """Figures for all, and the ratio of each of `mine` to each other participant."""
        names = [name for name in rounds.names() if not name.endswith("~twin")]
        for name in names:
            self.figure(f"{prefix}/{name}", rounds.values(name), unit)
        for ours in mine:
            for peer in names:
                if peer != ours:
                    self.ratio(f"{prefix}/{ours}/{peer}", rounds.ratios(ours, peer))

    def save(self):
        everything = {
            "machine": self.machine, "versions": versions(), "missing": self.missing,
            "groups": self.groups, "rejected": self.rejected,
            "ratios": dict(sorted(self.ratios.items())),
            "figures": dict(sorted(self.figures.items())),
        }
        with open(PATH, "w") as file:
            json.dump(everything, file, indent=1)
            file.write("\n")
        return everything


def rounded(found):
    return {name: float(f"{value:.4g}") for name, value in found.items()}
