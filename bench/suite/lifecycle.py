"""Opening and closing a 1 GiB ring, beside the bare system calls for the same geometry."""

import json
import subprocess

from .network import boosted
from .pairing import Noisy, Rounds
from .peers import BUILD

GIB = 1 << 30


def run(suite):
    rounds = suite.rounds(40)
    for attempt in range(suite.attempts):
        words = boosted([f"{BUILD}/lifecycle-ours", f"bytes={GIB}", f"rounds={rounds}"])
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        tables = {"open": Rounds(), "close": Rounds()}
        for _ in suite.progress(range(rounds), "lifecycle (1 GiB)"):
            row = json.loads(process.stdout.readline())
            for what, table in tables.items():
                table.add(row[what])
        process.wait(60)
        try:
            twins = {f"twin_{what}": table.check_twin("bare", 0.05)
                     for what, table in tables.items()}
        except Noisy as reason:
            suite.say(f"lifecycle: rejected, {reason} (attempt {attempt + 1} of {suite.attempts})")
            suite.results.reject("lifecycle", str(reason))
            continue
        suite.results.rejected.pop("lifecycle", None)
        for what, table in tables.items():
            suite.results.compare(f"lifecycle/{what}_1GiB", table, ["library"], "ms")
        suite.results.note("lifecycle", **twins)
        return
