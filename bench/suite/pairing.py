"""Paired samples, the A/A twin, and what may be concluded from them.

Every round measures each participant once, in random order. Only ratios within one round are
compared, so a drift of the machine between rounds cancels out. The first participant runs
twice in each round; the ratio of that pair, which would be 1 on a quiet machine, decides
whether a round and the whole run are fit to be used."""

import random

import numpy
from scipy.stats import bootstrap

TWIN = "~twin"


class Noisy(Exception):
    """The machine was too busy for this measurement to mean anything."""


def interval(values):
    """Median with a 95 % bootstrap confidence interval."""
    values = numpy.asarray(values, dtype=float)
    median = float(numpy.median(values))
    if len(values) < 3 or numpy.ptp(values) == 0:
        return {"median": median, "low": float(values.min()), "high": float(values.max())}
    found = bootstrap((values,), numpy.median, n_resamples=2000, method="percentile", rng=1)
    low, high = found.confidence_interval
    return {"median": median, "low": float(low), "high": float(high)}


class Rounds:
    def __init__(self):
        self.rows = []

    def add(self, row):
        self.rows.append(row)

    def names(self):
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def values(self, name):
        return [row[name] for row in self.rows if name in row]

    def ratios(self, mine, theirs):
        return [row[mine] / row[theirs] for row in self.rows
                if mine in row and theirs in row and row[theirs] > 0]

    def keep_quiet(self, primary, spread):
        """Drops rounds whose twin strays by more than `spread`; needs half of them to stay."""
        twin = primary + TWIN
        def quiet(row):
            return twin in row and primary in row and 1 / spread <= row[primary] / row[twin] <= spread
        kept = [row for row in self.rows if quiet(row)]
        if len(kept) < max(3, len(self.rows) // 2):
            raise Noisy(f"only {len(kept)} of {len(self.rows)} rounds were quiet")
        dropped, self.rows = len(self.rows) - len(kept), kept
        return dropped

    def check_twin(self, primary, tolerance):
        twin = interval(self.ratios(primary, primary + TWIN))
        if not 1 - tolerance <= twin["median"] <= 1 + tolerance:
            raise Noisy(f"A/A twin at {twin['median']:.3f}, allowed 1 ± {tolerance}")
        return twin


def shuffled(items):
    return random.sample(list(items), len(items))
