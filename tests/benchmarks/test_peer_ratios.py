#!/usr/bin/env python3
"""The arithmetic of benchmarks/compare_peers.py, and the whole of it beside libraries that are not
there. usage: test_peer_ratios.py ROOT"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.dont_write_bytecode = True

import peer_ratios  # noqa: E402
from peer_ratios import FA3, OURS, UPSTREAM, Shape  # noqa: E402


def reference(name):
    return json.loads((ROOT / "benchmarks/reference" / name).read_text())


def times(cold, hot):
    return {"cold": cold, "hot": hot}


class Shapes(unittest.TestCase):
    def test_lengths_are_those_of_the_records(self):
        for name in ("h200_upstream_dense.json", "h200_peers_dense.json",
                     "h100_upstream_dense.json"):
            rows = reference(name)["dense_decode_bf16"]
            shapes = peer_ratios.shapes_of(reference(name))
            self.assertEqual(len(shapes), 36)
            for row, shape in zip(rows, shapes):
                self.assertEqual(sum(shape.lengths()), row["tokens"], shape)

    def test_text_comes_back(self):
        for shape in (Shape(4, 1, 128, 8192), Shape(1, 4, 16, 7, True, True),
                      Shape(1, 4, 16, 7, False, True)):
            self.assertEqual(peer_ratios.parse_shape(shape.text()), shape)
        for text in ("", "1,2,3", "1,2,3,x", "1,2,3,4,other", "1,2,3,4,causal,causal"):
            with self.assertRaises(ValueError):
                peer_ratios.parse_shape(text)


class Ratios(unittest.TestCase):
    SHAPE = Shape(4, 1, 128, 8192)

    def rounds(self):
        return [{OURS: [times(10, 5)], UPSTREAM: [times(10 * n, 6)], "x": [times(25, 4)]}
                for n in (1, 2, 3, 9, 9)]

    def test_a_ratio_is_the_median_of_the_rounds_ratios(self):
        rounds = self.rounds()
        rounds[4][OURS] = [times(90, 5)]  # ratios 1, 2, 3, 9, 1
        over = peer_ratios.compare(rounds, [self.SHAPE])["shapes"][0]["over"]
        self.assertEqual(over[UPSTREAM]["cold"], 2)
        self.assertEqual(over[UPSTREAM]["hot"], 6 / 5)

    def test_best_is_the_fastest_of_each_round_cold_and_hot_each(self):
        over = peer_ratios.compare(self.rounds(), [self.SHAPE])["shapes"][0]["over"]
        self.assertEqual(over["best"]["cold"], 2.5)  # min(10, 25) … min(90, 25), the median 25
        self.assertEqual(over["best"]["hot"], 4 / 5)

    def test_few_rounds_are_no_ratio(self):
        with self.assertRaisesRegex(ValueError, "4 rounds"):
            peer_ratios.compare(self.rounds()[:4], [self.SHAPE])

    def test_means_are_geometric(self):
        found = peer_ratios.summary([times(2, 4), times(0.5, 1), None])
        self.assertAlmostEqual(found["cold"]["geometric_mean"], 1)
        self.assertAlmostEqual(found["hot"]["geometric_mean"], 2)
        self.assertEqual(found["cold"]["least"], 0.5)
        self.assertEqual(found["cold"]["shapes"], 2)

    def test_fa3_is_its_recorded_ratio_times_upstreams_time(self):
        peers = reference("h200_peers_dense.json")
        row = next(row for row, shape in zip(peers["dense_decode_bf16"],
                                             peer_ratios.shapes_of(peers)) if shape == self.SHAPE)
        a_round = peer_ratios.with_fa3({OURS: [times(1, 1)], UPSTREAM: [times(100, 200)]},
                                       [self.SHAPE], peers)
        fa3 = a_round[FA3][0]
        self.assertAlmostEqual(
            fa3["cold"], 100 * min(row["fa3"][0], row["fa3_s32"][0]) / row["upstream"][0])
        self.assertAlmostEqual(
            fa3["hot"], 200 * min(row["fa3"][1], row["fa3_s32"][1]) / row["upstream"][1])

    def test_shapes_without_a_record_have_no_fa3(self):
        shape = Shape(7, 1, 128, 8192)
        rounds = [peer_ratios.with_fa3({OURS: [times(1, 1)], UPSTREAM: [times(2, 2)]}, [shape],
                                       reference("h200_peers_dense.json"))] * 5
        comparison = peer_ratios.compare(rounds, [shape])
        self.assertIsNone(comparison["shapes"][0]["over"][FA3])
        self.assertEqual(comparison["shapes"][0]["over"]["best"], times(2, 2))
        self.assertIn("2.00", peer_ratios.table(comparison))

    def test_the_table_has_a_line_for_each_shape_and_the_means(self):
        text = peer_ratios.table(peer_ratios.compare(self.rounds(), [self.SHAPE]))
        for part in ("4,1,128,8192", "upstream", "geometric mean", "least", "2.50"):
            self.assertIn(part, text)


class Command(unittest.TestCase):
    def run_command(self, *words):
        script = ROOT / "benchmarks/compare_peers.py"
        return subprocess.run([sys.executable, "-B", str(script), *words], capture_output=True,
                              text=True, check=False)

    def test_wants_a_peer_and_rounds(self):
        self.assertEqual(self.run_command().returncode, 2)
        few = self.run_command("--flashinfer", "--rounds", "4")
        self.assertEqual(few.returncode, 2)
        self.assertIn("--rounds", few.stderr)

    def test_says_which_library_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_command("--flash-mla", folder, "--results", folder)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("upstream ended", result.stderr)
            self.assertEqual(list(pathlib.Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
