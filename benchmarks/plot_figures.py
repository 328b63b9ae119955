"""What benchmarks/plot.py draws, as figures and words, and the SVG that it leaves. Plain Python."""

import json
import pathlib
import re

from peer_ratios import UPSTREAM, parse_shape

ROOT = pathlib.Path(__file__).resolve().parent.parent
QK_DIM, V_DIM, BYTES = 576, 512, 2
INK, GREY, PALE = "#1f2933", "#66727f", "#e3e7eb"
LIBRARIES = {  # name, colour, marker
    UPSTREAM: ("DeepSeek's FlashMLA", "#1769aa", "o"),
    "fa3_estimate": ("FlashAttention-3 (estimated)", "#e07b00", "D"),
    "flashinfer": ("FlashInfer, pages of 64", "#2a9d5c", "s"),
    "flashinfer_p1": ("FlashInfer, pages of 1", "#8e4ec6", "^"),
}
HEADS = {16: "#e07b00", 32: "#2a9d5c", 64: "#8e4ec6", 128: "#1769aa"}


def thousands(tokens):
    """65536 as 64k."""
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else f"{tokens:,}"


def columns(shape):
    """What a row of the first picture says of its shape."""
    queries = f"{shape.s_q}, causal" if shape.causal else str(shape.s_q)
    return str(shape.h_q), str(shape.b), queries, "≈ " * shape.varlen + thousands(shape.s_k)


def groups(rows):
    """The rows of a result in several lists: one for each number of heads with one query token,
    then those with several; in each few requests come first, and short ones."""
    found = {}
    for row in rows:
        shape = parse_shape(row["shape"])
        place = (shape.b, shape.s_q, shape.s_k, shape.causal)
        found.setdefault((shape.s_q > 1, shape.h_q), []).append((place, row))
    return [[row for _, row in sorted(found[group], key=lambda pair: pair[0])]
            for group in sorted(found)]


def work(shape, tokens):
    """(flop, bytes) of a call, as docs/benchmarking.md counts them."""
    rows = shape.b * shape.s_q * shape.h_q
    flop = 2 * shape.s_q * shape.h_q * tokens * (QK_DIM + V_DIM)
    return flop, BYTES * (tokens * QK_DIM + rows * (QK_DIM + V_DIM))


def points(rows):
    """(shape, flop per byte, [cold, hot] in TFLOP/s) of each row of a result."""
    found = []
    for row in rows:
        shape = parse_shape(row["shape"])
        flop, moved = work(shape, row["tokens"])
        rates = [flop / (median * 1e-6) * 1e-12 for _, median, _ in row["us"]]
        found.append((shape, flop / moved, rates))
    return found


def ceilings(result, reference):
    """(TB/s read, TFLOP/s of the tensor cores, where they were measured): by the run of the result,
    or else, in older results, by the recorded one of the same card."""
    if "roofline" in result:
        roofline = result["roofline"]
        return (roofline["bytes_per_second"] * 1e-12, roofline["flop_per_second"] * 1e-12,
                "measured in the same run")
    if reference and "ceilings" in reference:
        measured = reference["ceilings"]
        return measured["read_TBps"], measured["wgmma_only_cold_TF"], "from benchmarks/reference"
    raise ValueError(f"no measured rates of {result['machine']['gpu']}")


def reference_of(gpu):
    """The record of upstream on the card, if there is one."""
    card = gpu.replace("NVIDIA ", "").split()[0].lower()
    path = ROOT / "benchmarks/reference" / f"{card}_upstream_dense.json"
    return json.loads(path.read_text()) if path.exists() else None


def roof(intensity, bandwidth, peak):
    """TFLOP/s under the roof at so many flop a byte."""
    return min(intensity * bandwidth, peak)


def source(result):
    """Where a result comes from."""
    machine = result["machine"]
    return (f"{machine['gpu']}, driver {machine['driver']}, {result['date'][:10]}, commit "
            f"{result['commit']}; medians of {result['rounds']} rounds in turns")


def limits(rows, names):
    """(first, last, ticks) of an axis of ratios that holds all rounds of all rows."""
    found = [ratio for row in rows for name in names if row[name]
             for spread in row[name] for ratio in spread]
    first, last = min(*found, 1) * 0.97, max(*found, 1) * 1.03
    ticks = (0.25, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 6, 8)
    return first, last, [tick for tick in ticks if first <= tick <= last]


def call_text(shape):
    """What the second picture says of a call, in two lines."""
    plural = "s" * (shape.b > 1)
    return f"{shape.b} request{plural} of\n{'≈ ' * shape.varlen}{thousands(shape.s_k)} tokens"


def classes_of(svg):
    """The SVG with a class for every style that several elements have, and the rules of these."""
    styles = re.findall(r' style="([^"]*)"', svg)
    rules = ""
    for style in dict.fromkeys(styles):
        if styles.count(style) > 2:
            name = f"s{rules.count('}')}"
            svg = svg.replace(f' style="{style}"', f' class="{name}"')
            rules += f".{name}{{{style.replace('; ', ';').replace(': ', ':')}}}"
    return svg, rules


def without_groups(svg):
    """The SVG without the groups that only give a part of the picture a name."""
    kept, dropped = [], []
    for part in re.split(r"(<g\b[^>]*>|</g>)", re.sub(r'<g id="[^"]*"/>', "", svg)):
        if part.startswith("<g"):
            dropped.append(re.fullmatch(r'<g id="[^"]*">', part) is not None)
            kept += [] if dropped[-1] else [part]
        elif part != "</g>" or not dropped.pop():
            kept.append(part)
    return "".join(kept)


def compact_path(found):
    """A path's commands without the space around their letters."""
    commands = re.sub(r"\s*([A-Za-z])\s*", r"\1", found[1])
    return f' d="{commands.strip()}"'


def lighter(svg):
    """The SVG without what matplotlib repeats at every text and every mark (its style, a group of
    its own, turns by nothing), and without metadata, indents and thousandths of a point."""
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    svg = re.sub(r' d="([^"]*)"', compact_path, without_groups(svg))
    # Numbers between > and < are text.
    svg = re.sub(r"(>[^<]*<)|(\d\.\d\d)\d+", lambda found: found[1] or found[2], svg)
    svg = re.sub(r"(>[^<]*<)|(\d)(?:\.0+|(\.[1-9])0)\b",
                 lambda found: found[1] or found[2] + (found[3] or ""), svg)
    svg, rules = classes_of(svg.replace("font-family: 'DejaVu Sans'; ", ""))
    font = "text{font-family: 'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif}"
    svg = svg.replace('<style type="text/css">', f'<style type="text/css">{font}{rules}', 1)
    return "".join(line.strip() + "\n" for line in svg.splitlines() if line.strip())
