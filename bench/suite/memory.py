"""What the library costs beside its rings: heap, allocations after activate, size on disk."""

import json
import os
import shutil
import subprocess
import tempfile

from .network import FAR, NEAR
from .peers import BUILD

LIMITS = {"heap_bytes": 64 << 10, "allocations_after_activate": 0, "stripped_bytes": 700 << 10}


def library():
    return os.path.realpath(os.path.join(os.path.dirname(BUILD), "dist", "libpktring.so"))


def stripped_bytes():
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(library(), folder)
        subprocess.run(["strip", "--strip-unneeded", copy], check=True)
        return os.path.getsize(copy)


def run(suite):
    words = [f"{BUILD}/memory-ours", f"near={NEAR}", f"far={FAR}"]
    found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    found["stripped_bytes"] = stripped_bytes()
    for name, limit in LIMITS.items():
        suite.results.figure(f"memory/{name}", found[name], f"at most {limit}")
        suite.results.ratio(f"memory/{name}/library/limit", [found[name] / max(1, limit)])
