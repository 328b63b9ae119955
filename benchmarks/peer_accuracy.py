"""The arithmetic of `compare_peers.py --accuracy`: which calls, and what their errors say. Plain
Python.

The error of a row of out, against float64: with a = ⟨out, ref⟩ / ⟨ref, ref⟩, the residual is
‖out − a · ref‖ / ‖ref‖ and the bias |a − 1|. Both are averaged over the rows of a call, and over
seeds. `distance` is 1 − 2 Σab / Σ(a² + b²) over the whole tensor."""

import math
import statistics
from dataclasses import dataclass

from peer_ratios import OURS, UPSTREAM, geometric_mean

DTYPES = ("bf16", "fp16")
MEASURES = ("residual", "bias", "distance")
WHAT = ("flashmla and upstream: [residual, bias, distance] against float64, on the same inputs, "
        "the means over seeds, as benchmarks/peer_accuracy.py defines them. case: "
        "b,s_q,h_q,tokens and the scale of the numbers. ratio: flashmla's residual over "
        "upstream's.")


@dataclass(frozen=True)
class Case:
    """One query token a request; q and the cache are normal numbers times `scale`."""

    b: int
    h_q: int
    tokens: int
    scale: float

    def text(self):
        return f"{self.b},1,{self.h_q},{self.tokens} · {self.scale:g}"

    def seeds(self):
        """More where there are few rows to average over."""
        return range(20 if self.b * self.h_q < 16 else 5)


CASES = [
    Case(1, 1, 4096, 0.1), Case(1, 1, 4096, 1), Case(1, 3, 4096, 0.1), Case(1, 16, 4096, 0.1),
    Case(1, 16, 65536, 0.1), Case(1, 64, 4096, 0.1), Case(1, 128, 4096, 0.1),
    Case(1, 128, 65536, 0.1), Case(64, 1, 4096, 0.1), Case(64, 16, 4096, 0.1),
    Case(128, 128, 4096, 0.1), Case(1, 1, 140, 0.1), Case(1, 16, 140, 0.1),
]


def errors(sums):
    """`sums`: (⟨out, out⟩, ⟨out, ref⟩, ⟨ref, ref⟩) of each row, in float64; ‖out − a · ref‖² is
    ⟨out, out⟩ − ⟨out, ref⟩² / ⟨ref, ref⟩."""
    if not all(math.isfinite(figure) for row in sums for figure in row):
        raise ValueError("results that are not finite")
    residuals = [math.sqrt(max(0.0, (oo - ow * ow / ww) / ww)) for oo, ow, ww in sums]
    biases = [abs(ow / ww - 1) for _, ow, ww in sums]
    oo, ow, ww = map(math.fsum, zip(*sums))
    return {"residual": statistics.fmean(residuals), "bias": statistics.fmean(biases),
            "distance": 1 - 2 * ow / (oo + ww)}


def requests():
    """Every call that is measured, as (case, dtype, seed)."""
    return [(case, dtype, seed) for case in CASES for dtype in DTYPES for seed in case.seeds()]


def compare(calls, found):
    """`calls`: what requests() gives; `found`: {library: [errors of each call]}."""
    rows = []
    for case in CASES:
        for dtype in DTYPES:
            chosen = [i for i, call in enumerate(calls) if call[:2] == (case, dtype)]
            means = {name: {measure: statistics.fmean(of[i][measure] for i in chosen)
                            for measure in MEASURES} for name, of in found.items()}
            rows.append({"case": case.text(), "dtype": dtype, "seeds": len(chosen), **means,
                         "ratio": means[OURS]["residual"] / means[UPSTREAM]["residual"]})
    ratios = [row["ratio"] for row in rows]
    return {"cases": rows, "geometric_mean": geometric_mean(ratios), "largest": max(ratios)}


def record(comparison):
    """The comparison in the form of a result file, which WHAT describes."""
    cases = [{name: [value[measure] for measure in MEASURES] if name in (OURS, UPSTREAM) else value
              for name, value in row.items()} for row in comparison["cases"]]
    return {**comparison, "cases": cases}


def table(comparison):
    """For people: residual and bias of both libraries."""
    lines = [f"{'b,s_q,h_q,tokens · scale':<24} type | ours: residual     bias distance | "
             "upstream: residual     bias distance | ratio"]
    for row in comparison["cases"]:
        ours, theirs = (" ".join(f"{row[name][measure]:>8.2e}" for measure in MEASURES)
                        for name in (OURS, UPSTREAM))
        lines.append(f"{row['case']:<24} {row['dtype']} |     {ours} |         {theirs} | "
                     f"{row['ratio']:.3f}")
    lines.append("residual, ours over upstream's: geometric mean "
                 f"{comparison['geometric_mean']:.3f}"
                 f", largest {comparison['largest']:.3f}")
    return "\n".join(lines)
