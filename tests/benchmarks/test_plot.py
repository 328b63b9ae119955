#!/usr/bin/env python3
"""What benchmarks/plot.py draws, without matplotlib; where that is installed, the pictures too.
usage: test_plot.py ROOT"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.dont_write_bytecode = True

import plot_figures  # noqa: E402
from peer_ratios import Shape, parse_shape  # noqa: E402

PICTURES = ("peers.svg", "roofline.svg")


def row(shape, tokens=1, cold=1.0, hot=1.0, **libraries):
    return {"shape": shape, "tokens": tokens, "us": [[cold] * 3, [hot] * 3], **libraries}


def newest():
    """The newest H200 result of all shapes: (path, result)."""
    files = sorted((ROOT / "benchmarks/results").glob("*_h200_dense.json"))
    results = [(path, json.loads(path.read_text())) for path in files]
    return [(path, result) for path, result in results if len(result["shapes"]) == 36][-1]


class Arithmetic(unittest.TestCase):
    def test_work_is_what_the_records_counted(self):
        reference = plot_figures.reference_of("NVIDIA H200")
        for recorded in reference["dense_decode_bf16"]:
            shape = parse_shape(recorded["shape"])
            flop, moved = plot_figures.work(shape, recorded["tokens"])
            self.assertAlmostEqual(flop / recorded["cold_us"] * 1e-6, recorded["cold_TF"],
                                   delta=0.6)
            self.assertAlmostEqual(moved / recorded["cold_us"] * 1e-3, recorded["cold_GBps"],
                                   delta=0.01 * recorded["cold_GBps"])

    def test_a_point_has_the_rates_of_its_medians(self):
        (shape, intensity, rates), = plot_figures.points([
            {"shape": "1,1,128,1000", "tokens": 1000, "us": [[1, 10, 99], [1, 5, 99]]}])
        flop, moved = 2 * 128 * 1000 * 1088, 2 * (1000 * 576 + 128 * 1088)
        self.assertEqual(shape, Shape(1, 1, 128, 1000))
        self.assertAlmostEqual(intensity, flop / moved)
        self.assertAlmostEqual(rates[0], flop / 10e-6 * 1e-12)
        self.assertAlmostEqual(rates[1], flop / 5e-6 * 1e-12)

    def test_the_roof_is_the_lower_of_two_bounds(self):
        self.assertEqual([plot_figures.roof(x, 4, 800) for x in (100, 200, 300)], [400, 800, 800])

    def test_rates_of_the_run_come_before_recorded_ones(self):
        result = {"machine": {"gpu": "NVIDIA H200"}}
        reference = plot_figures.reference_of("NVIDIA H200")
        self.assertEqual(plot_figures.ceilings(result, reference)[:2], (4.391, 870))
        result["roofline"] = {"bytes_per_second": 4e12, "flop_per_second": 8e14}
        self.assertEqual(plot_figures.ceilings(result, reference)[:2], (4, 800))

    def test_a_card_without_rates_is_an_error(self):
        result = {"machine": {"gpu": "NVIDIA H100 80GB HBM3"}}
        for reference in (plot_figures.reference_of("NVIDIA H100 80GB HBM3"),
                          plot_figures.reference_of("some card")):
            with self.assertRaisesRegex(ValueError, "H100"):
                plot_figures.ceilings(result, reference)

    def test_every_shape_has_one_place_in_order(self):
        rows = [row(text) for text in ("128,2,128,4096", "16,1,16,4096", "1,1,128,8192",
                                       "1,1,16,65536", "1,1,128,1024")]
        self.assertEqual([[r["shape"] for r in group] for group in plot_figures.groups(rows)],
                         [["1,1,16,65536", "16,1,16,4096"], ["1,1,128,1024", "1,1,128,8192"],
                          ["128,2,128,4096"]])

    def test_words_for_a_shape(self):
        self.assertEqual(plot_figures.columns(Shape(1, 4, 128, 8192, True, True)),
                         ("128", "1", "4, causal", "≈ 8k"))
        self.assertEqual(plot_figures.columns(Shape(16, 1, 64, 1000)), ("64", "16", "1", "1,000"))

    def test_limits_hold_every_round_and_1(self):
        rows = [row("1,1,1,1", a=[[1.2, 1.3, 1.4], [1.1, 2, 2.2]]), row("1,1,1,1", a=None)]
        first, last, ticks = plot_figures.limits(rows, ["a"])
        self.assertLess(first, 1)
        self.assertGreater(last, 2.2)
        self.assertEqual(ticks, [1, 1.25, 1.5, 2])
        slower, _, ticks = plot_figures.limits([row("1,1,1,1", a=[[0.6, 0.7, 0.8]] * 2)], ["a"])
        self.assertLess(slower, 0.6)
        self.assertEqual(ticks, [0.67, 0.8, 1])

    def test_a_lighter_file_says_the_same(self):
        text = "<text style=\"font-family: 'DejaVu Sans'; fill: red\" x=\"1.23456\" y=\"2.00\""
        uses = "".join(f'  <use x="{x}" style="fill: red"/>\n' for x in ("1.239", "2.50"))
        svg = ('<style type="text/css">*{}</style>\n<metadata>who</metadata>\n<g id="text_1">\n'
               f'  {text} transform="rotate(-0 1 2)">driver 580.10.00</text>\n </g>\n'
               f'<g id="axes_1">\n<g clip-path="url(#a)">\n{uses} </g>\n<g id="empty"/>\n</g>\n'
               '<path d="M 1 2 \nL 3.001 4 \nz\n" style="opacity: 0.35"/>\n')
        light = plot_figures.lighter(svg)
        self.assertEqual(
            light[light.index("</style>"):],
            '</style>\n<text class="s0" x="1.23" y="2">driver 580.10.00</text>\n'
            '<g clip-path="url(#a)">\n<use x="1.23" class="s0"/>\n<use x="2.5" class="s0"/>\n'
            '</g>\n<path d="M1 2L3 4z" style="opacity: 0.35"/>\n')
        self.assertIn(".s0{fill:red}", light)
        self.assertIn("text{font-family: 'DejaVu Sans'", light)


class Pictures(unittest.TestCase):
    def test_they_are_light_and_of_the_newest_result(self):
        _, result = newest()
        for name in PICTURES:
            picture = (ROOT / "docs/pictures" / name).read_text()
            self.assertLess(len(picture.encode()), 60_000, name)
            self.assertIn(plot_figures.source(result), picture, name)

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "no matplotlib")
    def test_drawn_twice_they_are_the_same(self):
        drawn = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([sys.executable, "-B", ROOT / "benchmarks/plot.py", newest()[0],
                                "--folder", folder], check=True, stdout=subprocess.DEVNULL)
                drawn.append([pathlib.Path(folder, name).read_bytes() for name in PICTURES])
        self.assertEqual(*drawn)


if __name__ == "__main__":
    unittest.main()
