#!/usr/bin/env python3
"""Draws two pictures of a dense result in benchmarks/results. Needs matplotlib.

    python3 benchmarks/plot.py benchmarks/results/2026-12-01_0055_h200_dense.json

docs/pictures/peers.svg: how many times as fast as each other library FlashMLA is, every shape, cold
and hot. docs/pictures/roofline.svg: every shape below what the card can do at best. The same
matplotlib draws the same file to the byte."""

import argparse
import json
import math
import pathlib
import sys

import matplotlib
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from peer_ratios import parse_shape
from plot_figures import (
    GREY,
    HEADS,
    INK,
    LIBRARIES,
    PALE,
    ROOT,
    call_text,
    ceilings,
    columns,
    groups,
    lighter,
    limits,
    points,
    reference_of,
    roof,
    source,
)

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "flashmla", "font.size": 10, "text.color": INK,
    "font.family": ["DejaVu Sans"], "axes.edgecolor": GREY, "axes.labelcolor": GREY,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": GREY,
    "ytick.color": GREY, "axes.axisbelow": True,
}


def draw_ratios(axes, placed, side, names):
    """`placed`: (y, row) for each shape."""
    for i, name in enumerate(names):
        _, colour, marker = LIBRARIES[name]
        offset = (i - (len(names) - 1) / 2) * 0.18
        known = [(y + offset, *row[name][side]) for y, row in placed if row[name]]
        if not known:
            continue
        y, least_round, median, max_round = zip(*known)
        gaps = [math.nan] * len(known)  # one path for all lines makes a light file
        axes.plot([x for line in zip(least_round, max_round, gaps) for x in line],
                  [at for at in y for _ in range(3)], color=colour, linewidth=2.2, alpha=0.35)
        axes.plot(median, y, color=colour, marker=marker, markersize=5.5, linestyle="none",
                  markeredgecolor="white", markeredgewidth=0.6)


def finish_ratios(axes, side, axis):
    first, last, ticks = axis
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(axis="x", color=PALE)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_title(("Cold: keys come from memory", "Hot: one call after another")[side],
                   fontsize=11, fontweight="bold", loc="left", pad=24)


def draw_shapes(axes, placed):
    """The table on the left."""
    places = (0.13, 0.38, 0.64, 1)
    for place, head in zip(places, ("heads", "requests", "queries", "cached tokens")):
        axes.text(place, -0.95, head, color=GREY, fontsize=8.5, ha="right", va="bottom")
    for y, row in placed:
        for place, word in zip(places, columns(parse_shape(row["shape"]))):
            axes.text(place, y, word, ha="right", va="center", fontsize=9)
    axes.set_xlim(0, 1)
    axes.axis("off")


def draw_peers(result):
    names = [name for name in LIBRARIES if result["over"].get(name)]
    placed, bands, y = [], [], 0
    for group in groups(result["shapes"]):
        bands += range(len(placed), len(placed) + len(group), 2)
        placed += [(y + n, row) for n, row in enumerate(group)]
        y += len(group) + 0.7
    legend_lines = (len(names) + 1) // 2
    head, foot = 1.6 + 0.25 * legend_lines, 0.55
    figure = pyplot.figure(figsize=(10, head + foot + 0.23 * y), facecolor="white")
    height = figure.get_figheight()
    table, *panels = (
        figure.add_axes([left, foot / height, width, 1 - (head + foot) / height])
        for left, width in ((0.02, 0.28), (0.315, 0.33), (0.66, 0.33)))
    table.set_zorder(-1)
    for axes in (table, *panels):
        axes.set_ylim(y - 0.9, -0.8)
        axes.set_facecolor("none")
    # Bands behind the table and both panels: from 0.02 to 0.99 of the figure's width.
    table.barh([placed[n][0] for n in bands], 0.97 / 0.28, 1, color="#f5f7f9", clip_on=False,
               zorder=0)
    draw_shapes(table, placed)
    for side, axes in enumerate(panels):
        draw_ratios(axes, placed, side, names)
        finish_ratios(axes, side, limits(result["shapes"], names))
    label_peers(figure, result, names)
    return figure


def label_peers(figure, result, names):
    height = figure.get_figheight()
    figure.text(0.02, 1 - 0.32 / height, "FlashMLA beside other libraries: dense decoding on an "
                f"{result['machine']['gpu']}", fontsize=14, fontweight="bold", va="center")
    figure.text(0.02, 1 - 0.62 / height, "How many times as fast FlashMLA's call is: right of 1×, "
                "FlashMLA is faster. Beside each name: the geometric means of all shapes.",
                fontsize=10, color=GREY, va="center")
    handles = []
    for name in names:
        label, colour, marker = LIBRARIES[name]
        cold, hot = result["over"][name]["geometric_mean"]
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=2.2, markersize=6,
                              label=f"{label}: {cold:.2f}× cold, {hot:.2f}× hot"))
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.012, 1 - 0.75 / height),
                  ncols=2, frameon=False, fontsize=10, handlelength=1.4, columnspacing=2)
    notes = f"{source(result)}. A pale line goes from the least to the most round. ≈: on average."
    if "fa3_estimate" in names:
        notes += ("\nFlashAttention-3 is estimated: its recorded ratio to DeepSeek's FlashMLA, "
                  "times the time that this one took here.")
    figure.text(0.02, 0.28 / height, notes, fontsize=8, color=GREY, va="center", linespacing=1.5)


def draw_roofline(result, rates):
    bandwidth, peak, measured = rates
    found = points(result["shapes"])
    figure = pyplot.figure(figsize=(10, 6.4), facecolor="white")
    axes = figure.add_axes([0.075, 0.125, 0.905, 0.735])
    left, right = 0.72 * min(i for _, i, _ in found), 1.5 * max(i for _, i, _ in found)
    ridge = peak / bandwidth
    axes.plot([left, ridge, right], [roof(x, bandwidth, peak) for x in (left, ridge, right)],
              color=INK, linewidth=2)
    axes.fill_between([left, ridge, right], [left * bandwidth, peak, peak], peak * 3,
                      color="#f0f2f5", linewidth=0)
    for heads in sorted({shape.h_q for shape, _, _ in found}):
        colour = HEADS.get(heads, GREY)
        x, pairs = zip(*((i, pair) for shape, i, pair in found if shape.h_q == heads))
        cold, hot = zip(*pairs)
        axes.vlines(x, cold, hot, color=colour, linewidth=1, alpha=0.5)
        axes.plot(x, cold, "o", color=colour, markersize=7, alpha=0.9, markeredgecolor="white",
                  markeredgewidth=0.7)
        axes.plot(x, hot, "o", color=colour, markersize=5.5, markerfacecolor="white",
                  markeredgewidth=1.3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(0.45 * min(min(pair) for _, _, pair in found), peak * 1.75)
    label_axes(axes, bandwidth, peak)
    label_points(axes, found)
    label_roofline(figure, axes, result, measured)
    return figure


def label_axes(axes, bandwidth, peak):
    for axis, ticks in ((axes.xaxis, (15, 30, 60, 120, 240, 480, 960)),
                        (axes.yaxis, (5, 10, 20, 50, 100, 200, 500, 1000))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(color=PALE)
    axes.set_xlabel("flop for each byte that a call has to read or write")
    axes.set_ylabel("TFLOP/s")
    axes.text(axes.get_xlim()[1] * 0.98, peak * 1.06, f"tensor cores alone: {peak:.0f} TFLOP/s",
              ha="right", va="bottom", fontsize=10, fontweight="bold")
    x = axes.get_xlim()[0] * 1.25
    start, end = (axes.transData.transform((at, at * bandwidth)) for at in (x, 2 * x))
    axes.text(x, x * bandwidth * 1.12, f"reading memory: {bandwidth:.2f} TB/s", fontsize=10,
              rotation=math.degrees(math.atan2(end[1] - start[1], end[0] - start[0])),
              rotation_mode="anchor", fontweight="bold")


def label_points(axes, found):
    """The heads below each column of marks, and three of the marks."""
    for heads, queries in sorted({(shape.h_q, shape.s_q) for shape, _, _ in found}):
        x = max(i for shape, i, _ in found if (shape.h_q, shape.s_q) == (heads, queries))
        text = f"{heads} heads" + f",\n{queries} queries" * (queries > 1)
        axes.text(x, axes.get_ylim()[0] * 1.12, text, color=HEADS.get(heads, GREY), ha="center",
                  va="bottom", fontsize=10, fontweight="bold")
    fastest = max(found, key=lambda point: point[2][0])
    slowest = min(found, key=lambda point: point[2][0])
    reader = max(found, key=lambda point: point[2][0] / point[1])
    for (shape, x, (cold, hot)), figure in (
            (fastest, "{cold:.0f} / {hot:.0f} TFLOP/s"),
            (slowest, "{cold:.0f} / {hot:.0f} TFLOP/s"),
            (reader, "{cold_bytes:.2f} / {hot_bytes:.2f} TB/s")):
        figure = figure.format(cold=cold, hot=hot, cold_bytes=cold / x, hot_bytes=hot / x)
        axes.annotate(f"{call_text(shape)}:\n{figure}", (x, max(cold, hot)), (10, 2),
                      textcoords="offset points", fontsize=8.5, color=INK, va="top")


def label_roofline(figure, axes, result, measured):
    cold = Line2D([], [], marker="o", linestyle="none", markersize=8, color=GREY,
                  label="cold: keys come from memory")
    hot = Line2D([], [], marker="o", linestyle="none", markersize=6.5, markerfacecolor="white",
                 markeredgecolor=GREY, markeredgewidth=1.4,
                 label="hot: one call after another, some keys still in the cache")
    axes.legend(handles=[cold, hot], loc="upper left", frameon=False, fontsize=10,
                bbox_to_anchor=(0.01, 0.97))
    figure.text(0.02, 0.945, f"What an {result['machine']['gpu']} can do, and what dense decoding "
                "reaches", fontsize=14, fontweight="bold", va="center")
    figure.text(0.02, 0.895, "Each pair of marks is one shape. The black line is what the card "
                "does when it only reads, or only multiplies.", fontsize=10, color=GREY,
                va="center")
    figure.text(0.02, 0.025, f"{source(result)}. Beside marks: cold / hot. Line: {measured}.",
                fontsize=7.5, color=GREY, va="center")


def save(figure, path):
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None, "Creator": "benchmarks/plot.py"})
        path.write_text(lighter(path.read_text()))
    else:
        figure.savefig(path, dpi=110)
    print(f"{path}: {path.stat().st_size / 1000:.1f} KB")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=pathlib.Path, help="a dense file of benchmarks/results")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "docs/pictures",
                        help="where the pictures go")
    parser.add_argument("--format", default="svg", choices=("svg", "png"))
    given = parser.parse_args()
    result = json.loads(given.result.read_text())
    matplotlib.use("Agg")
    given.folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        save(draw_peers(result), given.folder / f"peers.{given.format}")
        try:
            rates = ceilings(result, reference_of(result["machine"]["gpu"]))
        except ValueError as error:
            sys.exit(f"plot: no roofline: {error}")
        save(draw_roofline(result, rates), given.folder / f"roofline.{given.format}")


if __name__ == "__main__":
    main()
