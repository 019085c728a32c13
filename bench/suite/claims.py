"""The kernel document's three claims for TPACKET_V3 over V2, measured with this library on both
sides and with the document's own loops: 15-20 % less CPU, about 20 % more frames captured,
about twice the packet density. The last is in the density group; here are the other two."""

from . import receive
from .pairing import TWIN, Noisy, Rounds, shuffled
from .peers import present

PAIRS = [("next_frame", "next_frame_v2"), ("hand_v3", "hand_v2")]
FRAMES = 400_000


def run(suite):
    names = present("receive", [name for pair in PAIRS for name in pair], suite.results.missing)
    pairs = [pair for pair in PAIRS if pair[0] in names and pair[1] in names]
    for label, size in (("64", 64), ("imix", 0)):
        cpu, pace = Rounds(), Rounds()
        for _ in suite.progress(range(suite.rounds(7)), f"claims/{label}"):
            answers = {name: receive.once(name, lambda: suite.sender.flood(FRAMES, size),
                                          **({} if label == "64" else {"slot": 2048}))
                       for name in shuffled([*names, names[0] + TWIN])}
            cpu.add({n: a["cpu_ns"] / max(1, a["frames"]) for n, a in answers.items()})
            # nanoseconds of the whole run for each frame that was captured: smaller is better
            pace.add({n: a["wall_ns"] / max(1, a["frames"]) for n, a in answers.items()})
        try:
            suite.results.note("claims", **{f"twin_{label}": pace.check_twin(names[0], 0.15)})
        except Noisy as reason:
            suite.results.reject(f"claims/{label}", str(reason))
            continue
        for v3, v2 in pairs:
            suite.results.ratio(f"claims/cpu_{label}/{v3}/{v2}", cpu.ratios(v3, v2))
            suite.results.ratio(f"claims/pace_{label}/{v3}/{v2}", pace.ratios(v3, v2))
