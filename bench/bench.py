#!/usr/bin/env python3
"""Measures libpktring beside its peers; see docs/performance.md for what it found.

    bench.py [--only drain,transmit] [--quick] [--effort 1.0] [--list]

Writes bench/results.json, the tables in docs/performance.md and plots in docs/performance/.
Everything runs in a network namespace made for the purpose. As root the frames come from the
kernel's own generator (bpf); otherwise from sendmmsg, more slowly."""

import argparse
import os
import subprocess
import sys
import time

from tqdm import tqdm

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from suite import (burst, claims, density, drain, fanout, flatness, instructions,  # noqa: E402
                   latency, lifecycle, memory, network, peers, receive, report, transmit)
from suite.results import Results  # noqa: E402

GROUPS = {
    "drain": drain.run, "instructions": instructions.run, "memory": memory.run,
    "density": density.run, "transmit": transmit.run, "latency": latency.run,
    "receive": receive.run, "burst": burst.run, "fanout": fanout.run, "claims": claims.run,
    "lifecycle": lifecycle.run, "flatness": flatness.run,
}
ALIASES = {"tx": "transmit", "rx": "receive", "e2e": "receive"}


class Suite:
    """What a group needs: the sender, the results, and how much effort to spend."""

    def __init__(self, effort):
        self.effort = effort
        self.attempts = 3
        self.results = Results()
        self.sender = network.Sender(os.path.join(peers.BUILD, "sender"))

    def rounds(self, usual):
        return max(3, round(usual * self.effort))

    def progress(self, items, label):
        return tqdm(list(items), desc=label, leave=True, mininterval=1.0, ascii=True,
                    bar_format="{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}]")

    def say(self, text):
        tqdm.write(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="groups, separated by commas")
    parser.add_argument("--quick", action="store_true", help="drain and instruction counts only")
    parser.add_argument("--effort", type=float, default=1.0, help="scales the number of rounds")
    parser.add_argument("--list", action="store_true", help="names the groups")
    chosen = parser.parse_args()
    names = [ALIASES.get(name, name) for name in chosen.only.split(",") if name]
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return chosen, names or list(GROUPS)


def main():
    chosen, names = arguments()
    if chosen.list:
        return print("\n".join(GROUPS))
    if not peers.binary("drain", "next_frame"):
        sys.exit("bench: the programs are not built; run `make bench-programs`")
    network.enter_namespace()
    network.make_links()
    suite, start = Suite(chosen.effort), time.monotonic()
    if suite.sender.how != "xdp":
        suite.say("bpf() is refused here: frames come from sendmmsg over a veth pair")
    groups = {"drain": drain.run_quick, "instructions": instructions.run} if chosen.quick else \
             {name: GROUPS[name] for name in names}
    for name, run in groups.items():
        suite.results.begin(name)
        suite.results.note(name, sender=suite.sender.how)
        try:
            run(suite)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            # one group that cannot run here must not take the others' figures along
            suite.say(f"{name}: broke off: {error}")
            suite.results.reject(name, f"broke off: {error}")
        everything = suite.results.save()  # after each group: an interrupted run keeps the rest
    if chosen.quick:
        report.to_terminal(everything, groups)
    else:
        report.write(everything)
        report.to_terminal(everything, groups)
    for reason in suite.results.missing.values():
        suite.say(f"missing: {reason}")
    for key, reason in suite.results.rejected.items():
        suite.say(f"rejected: {key}: {reason}")
    suite.say(f"took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
