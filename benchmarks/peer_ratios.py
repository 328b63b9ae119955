"""The arithmetic of benchmarks/compare_peers.py: which calls, what their times say. Plain Python.

Times are {"cold": seconds, "hot": seconds}; a round is {library: [times of each shape]}. What all
rounds say is {"cold": Spread, "hot": Spread}."""

import math
import random
import statistics
from dataclasses import dataclass
from typing import NamedTuple

OURS = "flashmla"
UPSTREAM = "upstream"
FA3 = "fa3_estimate"
SIDES = ("cold", "hot")
LEAST_ROUNDS = 5
WHAT = ("us: our time in microseconds. Each other member is a library: its time over ours, so "
        "above 1 FlashMLA is the faster one. All are [cold, hot] as docs/benchmarking.md defines "
        "them, and each of these is [least, median, most] of the rounds. fa3_estimate: "
        "FlashAttention-3's recorded ratio to upstream, times upstream's time. best: the fastest "
        "other library of each round. over: of the medians of all shapes, [cold, hot].")


class Spread(NamedTuple):
    """Of one figure over the rounds."""

    least: float
    median: float
    most: float


def spread(values):
    return Spread(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Shape:
    b: int
    s_q: int
    h_q: int
    s_k: int
    varlen: bool = False
    causal: bool = False

    def text(self):
        """As `flashmla bench --shape` takes it."""
        return (f"{self.b},{self.s_q},{self.h_q},{self.s_k}" + ",varlen" * self.varlen
                + ",causal" * self.causal)

    def lengths(self):
        """Tokens in each request's cache, by the recipe of the recorded figures."""
        if not self.varlen:
            return [self.s_k] * self.b
        draw = random.Random(0)
        return [max(self.s_q, int(draw.normalvariate(self.s_k, self.s_k / 2)))
                for _ in range(self.b)]


def parse_shape(text):
    parts = text.split(",")
    flags = parts[4:]
    if len(parts) < 4 or len(set(flags)) < len(flags) or not set(flags) <= {"varlen", "causal"}:
        raise ValueError(f"'{text}': wanted b,s_q,h_q,tokens[,varlen][,causal]")
    return Shape(*map(int, parts[:4]), "varlen" in flags, "causal" in flags)


def shapes_of(reference):
    """The shapes of a file in benchmarks/reference."""
    return [parse_shape(row["shape"]) for row in reference["dense_decode_bf16"]]


def fa3_over_upstream(peers, shape):
    """How long FlashAttention-3 took beside upstream where both were recorded in one run."""
    for row, known in zip(peers["dense_decode_bf16"], shapes_of(peers)):
        if known == shape:
            names = [name for name in row if name.startswith("fa3")]
            return {side: min(row[name][i] for name in names) / row[UPSTREAM][i]
                    for i, side in enumerate(SIDES)}
    return None


def with_fa3(a_round, shapes, peers):
    """The round with what FlashAttention-3 would take: its recorded ratio times upstream's time."""
    if UPSTREAM not in a_round:
        return a_round
    times = []
    for shape, upstream in zip(shapes, a_round[UPSTREAM]):
        ratio = fa3_over_upstream(peers, shape)
        times.append(ratio and {side: upstream[side] * ratio[side] for side in SIDES})
    return {**a_round, FA3: times}


def fastest(a_round, i):
    """The fastest time of any other library for shape i, cold and hot each; None without one."""
    others = [times[i] for name, times in a_round.items() if name != OURS and times[i]]
    return {side: min(t[side] for t in others) for side in SIDES} if others else None


def over_ours(rounds, i, theirs):
    """theirs(round) over ours for shape i, in all rounds; None where it is unknown."""
    pairs = [(theirs(a_round), a_round[OURS][i]) for a_round in rounds]
    if any(other is None for other, _ in pairs):
        return None
    return {side: spread([other[side] / ours[side] for other, ours in pairs]) for side in SIDES}


def our_time(rounds, i):
    return {side: spread([a_round[OURS][i][side] for a_round in rounds]) for side in SIDES}


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def summary(ratios):
    """Of the medians of {side: Spread} for each shape that has one."""
    known = [ratio for ratio in ratios if ratio]
    if not known:
        return None
    return {side: {"geometric_mean": geometric_mean([r[side].median for r in known]),
                   "least": min(r[side].median for r in known),
                   "shapes": len(known)} for side in SIDES}


def compare(rounds, shapes):
    """Everything that the rounds say."""
    if len(rounds) < LEAST_ROUNDS:
        raise ValueError(f"{len(rounds)} rounds: a ratio is the median of {LEAST_ROUNDS} or more")
    libraries = [name for name in rounds[0] if name != OURS]
    rows = []
    for i, shape in enumerate(shapes):
        ratios = {name: over_ours(rounds, i, lambda r, name=name, i=i: r[name][i])
                  for name in libraries}
        best = over_ours(rounds, i, lambda r, i=i: fastest(r, i))
        rows.append({"shape": shape.text(), "tokens": sum(shape.lengths()),
                     "ours": our_time(rounds, i), "over": {**ratios, "best": best}})
    columns = [*libraries, "best"]
    return {"shapes": rows,
            "over": {name: summary([row["over"][name] for row in rows]) for name in columns}}


def record(comparison):
    """The comparison in the form of a result file, which WHAT describes."""
    def both(spreads, unit=1):
        return spreads and [[figure / unit for figure in spreads[side]] for side in SIDES]

    shapes = [{"shape": row["shape"], "tokens": row["tokens"], "us": both(row["ours"], 1e-6),
               **{name: both(over) for name, over in row["over"].items()}}
              for row in comparison["shapes"]]
    over = {name: entry and {"geometric_mean": [entry[side]["geometric_mean"] for side in SIDES],
                             "least": [entry[side]["least"] for side in SIDES],
                             "shapes": entry["cold"]["shapes"]}
            for name, entry in comparison["over"].items()}
    return {"over": over, "shapes": shapes}


def table(comparison):
    """For people: microseconds, and how many times as fast ours is."""
    columns = list(comparison["over"])
    width = max(len(row["shape"]) for row in comparison["shapes"])
    lines = [f"{'b,s_q,h_q,tokens':<{width}} {'ours, us':>17} | "
             + " | ".join(f"{name[:20]:>20}" for name in columns)]

    def pair(cold, hot):
        return f"{cold:>9.2f} {hot:>10.2f}"

    for row in comparison["shapes"]:
        cold, hot = (row["ours"][side].median * 1e6 for side in SIDES)
        ratios = (over and pair(*(over[side].median for side in SIDES))
                  for over in (row["over"][name] for name in columns))
        lines.append(f"{row['shape']:<{width}} {cold:>8.1f} {hot:>8.1f} | "
                     + " | ".join(text or " " * 20 for text in ratios))
    for what in ("geometric_mean", "least"):
        ratios = (entry and pair(*(entry[side][what] for side in SIDES))
                  for entry in comparison["over"].values())
        lines.append(f"{what.replace('_', ' '):<{width}} {'cold':>8} {'hot':>8} | "
                     + " | ".join(text or " " * 20 for text in ratios))
    return "\n".join(lines)
