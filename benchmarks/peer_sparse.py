"""The arithmetic of `compare_peers.py --suite sparse`: which calls, the groups that they are judged
in, and what these have to reach. Plain Python.

A call is written format:b,s_q,h_q,topk[+extra_topk@extra_page][,validN|,scatteredN], as
`flashmla bench --suite sparse --format FORMAT --shape …` takes it. validN: only the first N entries
of a list name a slot; scatteredN: N entries anywhere in it."""

import re
from dataclasses import dataclass

import peer_ratios
from peer_ratios import SIDES, UPSTREAM

FLASHINFER = "flashinfer_p1"
FORMATS = ("v32", "v4", "bf16")
LEAST_HEADS = 64  # of upstream, and a multiple of these: engines pad
WHAT = (peer_ratios.WHAT.split(" fa3_estimate:")[0] +
        " upstream with fewer than 64 heads computes 64, as engines call it; the padding is not "
        "timed. best: the fastest other library of each round. over: of the medians of all shapes, "
        "[cold, hot]. groups: of the medians over `library`, with what they have to reach.")


@dataclass(frozen=True)
class SparseShape:
    format: str
    b: int
    s_q: int
    h_q: int
    topk: int
    extra: int = 0  # entries of each list into an extra cache
    extra_page: int = 64
    valid: int = 0  # entries that name a slot; 0: all
    scattered: bool = False

    def option(self):
        """As `flashmla bench --shape` takes it."""
        lists = f"{self.topk}+{self.extra}@{self.extra_page}" if self.extra else str(self.topk)
        name = "scattered" if self.scattered else "valid"
        few = f",{name}{self.valid}" if self.valid else ""
        return f"{self.b},{self.s_q},{self.h_q},{lists}{few}"

    def text(self):
        return f"{self.format}:{self.option()}"

    def page(self):
        """Tokens in a page of the main cache."""
        return 256 if self.format == "v4" else 64

    def slots(self):
        """Of a request in each cache: as the recorded calls had, and `flashmla bench` has."""
        recorded = 16384 if self.b > 64 or self.format == "v4" else 32768
        return max(recorded, self.topk, self.extra)

    def lengths(self):
        """Valid entries of the lists of each query token."""
        return [(self.valid or self.topk) + self.extra] * (self.b * self.s_q)

    def padded_heads(self):
        """Heads that upstream computes."""
        return -(-self.h_q // LEAST_HEADS) * LEAST_HEADS


PATTERN = re.compile(r"(?P<format>v32|v4|bf16):(\d+),(\d+),(\d+),(\d+)(?:\+(\d+)(?:@(\d+))?)?"
                     r"(?:,(?P<flag>valid|scattered)(?P<valid>\d+))?")


def parse_shape(text):
    found = PATTERN.fullmatch(text)
    if not found:
        raise ValueError(f"'{text}': wanted v32|v4|bf16:b,s_q,h_q,topk[+extra_topk[@extra_page]]"
                         "[,validN|,scatteredN]")
    numbers = [int(found[i]) for i in range(2, 6)]
    return SparseShape(found["format"], *numbers, int(found[6] or 0), int(found[7] or 64),
                       int(found["valid"] or 0), found["flag"] == "scattered")


@dataclass(frozen=True)
class Group:
    """Calls that are judged together: (cold, hot) that the geometric mean of their ratios and the
    least of them have to reach."""

    name: str
    library: str
    shapes: tuple
    mean: tuple
    least: tuple


def each(name, shapes, bar):
    """Every call has to reach the bar, cold and hot."""
    return Group(name, UPSTREAM, tuple(map(parse_shape, shapes)), (bar, bar), (bar, bar))


def together(name, shapes, mean, least=1.0, library=UPSTREAM):
    return Group(name, library, tuple(map(parse_shape, shapes)), mean, (least, least))


def v4_shapes(heads, extra_topk, page, calls):
    return [f"v4:{b},{s_q},{heads},128+{extra_topk}@{page}" for b, s_q in calls]


def v4_groups():
    batches = [(2, 2), (64, 2), (128, 2), (256, 2)]
    few = [shape for heads in (8, 16, 32)
           for shape in v4_shapes(heads, 512, 64, [(1, 1), (64, 1)])]
    return [together("v4, h ≤ 32", few, (2.0, 2.0)),
            together("v4, h 64", v4_shapes(64, 512, 64, batches) + v4_shapes(64, 1024, 2, batches),
                     (1.5, 1.5)),
            together("v4, h 128",
                     v4_shapes(128, 1024, 64, batches) + v4_shapes(128, 1024, 2, batches),
                     (1.2, 1.2))]


def v32_groups():
    def calls(heads, *pairs):
        return [f"v32:{b},{s_q},{heads},2048" for b, s_q in pairs]

    few = [each(f"v32, h 8, 16, 32, b {b}", [calls(h, (b, 1))[0] for h in (8, 16, 32)], bar)
           for b, bar in ((1, 1.7), (16, 1.8), (64, 2.0), (256, 1.95))]
    middle = [each(f"v32, h 64, b {b}", calls(64, (b, 1)), bar)
              for b, bar in ((1, 1.4), (16, 1.4), (64, 1.3), (256, 1.25))]
    return [*few, *middle,
            each("v32, h 128, (1,1) and (2,1)", calls(128, (1, 1), (2, 1)), 1.4),
            each("v32, h 128, (1,2) and (2,2)", calls(128, (1, 2), (2, 2)), 1.25),
            each("v32, h 128, (8,1)", calls(128, (8, 1)), 1.25),
            each("v32, h 128, (32,1)", calls(128, (32, 1)), 1.2),
            together("v32, h 128, large", calls(128, (128, 1), (128, 2), (64, 2), (256, 1)),
                     (1.15, 1.08), 1.04),
            each("v32, h 128, topk 16,384", ["v32:148,2,128,16384"], 1.0),
            each("v32, first 256 valid", [f"v32:64,1,{h},2048,valid256" for h in (16, 128)], 3.0),
            each("v32, 256 scattered", [f"v32:64,1,{h},2048,scattered256" for h in (16, 128)],
                 1.2)]


def groups():
    """What sparse decoding has to reach."""
    plain = [f"bf16:{b},1,{h},2048" for h in (16, 128) for b in (1, 4, 16, 64, 128)]
    return [*v32_groups(), *v4_groups(),
            together("bf16, h 16 and 128", plain, (1.3, 1.3), 1.1, FLASHINFER)]


def shapes_of(formats):
    return [shape for group in groups() for shape in group.shapes if shape.format in formats]


def judge(comparison):
    """What each group reached, of those that have a shape in the comparison beside their library:
    a list of dicts in the form of a result file."""
    ratios = {row["shape"]: row["over"] for row in comparison["shapes"]}
    found = []
    for group in groups():
        known = [over[group.library] for over in (ratios.get(shape.text(), {})
                                                  for shape in group.shapes)
                 if over.get(group.library)]
        summary = peer_ratios.summary(known)
        if not summary:
            continue
        mean = [summary[side]["geometric_mean"] for side in SIDES]
        least = [summary[side]["least"] for side in SIDES]
        reached = all(got >= bar for got, bar in zip(mean + least, group.mean + group.least))
        found.append({"group": group.name, "library": group.library,
                      "shapes": f"{len(known)} of {len(group.shapes)}", "geometric_mean": mean,
                      "bar": list(group.mean), "least": least, "least_bar": list(group.least),
                      "reached": reached})
    return found


def table(judged):
    """For people."""
    width = max((len(row["group"]) for row in judged), default=0)
    lines = [f"{'group':<{width}} {'shapes':>8} | {'geometric mean, cold/hot':>24} {'bar':>11} | "
             f"{'least, cold/hot':>15} {'bar':>11} |"]
    for row in judged:
        mean, bar, least, least_bar = (f"{row[name][0]:.2f} / {row[name][1]:.2f}"
                                       for name in ("geometric_mean", "bar", "least", "least_bar"))
        lines.append(f"{row['group']:<{width}} {row['shapes']:>8} | {mean:>24} {bar:>11} | "
                     f"{least:>15} {least_bar:>11} | "
                     + ("reached" if row["reached"] else "MISSED"))
    return "\n".join(lines)
