#!/usr/bin/env python3
"""The arithmetic of benchmarks/compare_peers.py, and the whole of it beside libraries that are not
there. usage: test_peer_ratios.py ROOT"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.dont_write_bytecode = True

import compare_peers  # noqa: E402
import peer_accuracy  # noqa: E402
import peer_ratios  # noqa: E402
import result_file  # noqa: E402
from peer_ratios import FA3, OURS, UPSTREAM, Shape, Spread  # noqa: E402


def reference(name):
    return json.loads((ROOT / "benchmarks/reference" / name).read_text())


def times(cold, hot):
    return {"cold": cold, "hot": hot}


def steady(cold, hot):
    """The same in every round."""
    return times(Spread(cold, cold, cold), Spread(hot, hot, hot))


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
        self.assertEqual(over[UPSTREAM]["cold"], (1, 2, 9))
        self.assertEqual(over[UPSTREAM]["hot"].median, 6 / 5)

    def test_a_time_is_the_median_of_the_rounds_times(self):
        rounds = self.rounds()
        rounds[1][OURS] = [times(7, 8)]
        rounds[4][OURS] = [times(90, 5)]  # 10, 7, 10, 10, 90
        ours = peer_ratios.compare(rounds, [self.SHAPE])["shapes"][0]["ours"]
        self.assertEqual(ours, times((7, 10, 90), (5, 5, 8)))

    def test_best_is_the_fastest_of_each_round_cold_and_hot_each(self):
        over = peer_ratios.compare(self.rounds(), [self.SHAPE])["shapes"][0]["over"]
        self.assertEqual(over["best"]["cold"], (1, 2.5, 2.5))  # min(10, 25), 20, then 25
        self.assertEqual(over["best"]["hot"].median, 4 / 5)

    def test_few_rounds_are_no_ratio(self):
        with self.assertRaisesRegex(ValueError, "4 rounds"):
            peer_ratios.compare(self.rounds()[:4], [self.SHAPE])

    def test_means_are_geometric(self):
        found = peer_ratios.summary([steady(2, 4), steady(0.5, 1), None])
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
        self.assertEqual(comparison["shapes"][0]["over"]["best"], steady(2, 2))
        self.assertIn("2.00", peer_ratios.table(comparison))
        record = json.loads(result_file.text(peer_ratios.record(comparison)))
        self.assertIsNone(record["over"][FA3])
        self.assertIsNone(record["shapes"][0][FA3])

    def test_the_table_has_a_line_for_each_shape_and_the_means(self):
        text = peer_ratios.table(peer_ratios.compare(self.rounds(), [self.SHAPE]))
        for part in ("4,1,128,8192", "upstream", "geometric mean", "least", "2.50"):
            self.assertIn(part, text)


class Record(unittest.TestCase):
    def test_pairs_of_cold_and_hot_hold_least_median_and_most(self):
        rounds = [{OURS: [times(10e-6 * n, 5e-6)], UPSTREAM: [times(20e-6, 6e-6)]}
                  for n in (1, 2, 3, 4, 5)]
        record = peer_ratios.record(peer_ratios.compare(rounds, [Ratios.SHAPE]))
        row = result_file.four_digits(record["shapes"][0])
        self.assertEqual(row, {
            "shape": "4,1,128,8192", "tokens": 32768, "us": [[10, 30, 50], [5, 5, 5]],
            UPSTREAM: [[0.4, 0.6667, 2], [1.2, 1.2, 1.2]],
            "best": [[0.4, 0.6667, 2], [1.2, 1.2, 1.2]]})
        self.assertEqual(result_file.four_digits(record["over"])[UPSTREAM],
                         {"geometric_mean": [0.6667, 1.2], "least": [0.6667, 1.2], "shapes": 1})

    def test_four_digits_are_kept_and_counts_as_they_are(self):
        self.assertEqual(result_file.four_digits([1.23456, 12345.6, 4.391e12, 2.04538e-06, 123456]),
                         [1.235, 12350, 4391000000000, 2.045e-06, 123456])
        self.assertEqual(result_file.four_digits({"a": (0.0, "b", None, True)}),
                         {"a": [0, "b", None, True]})

    def test_a_file_has_a_line_for_each_shape_in_columns_and_reads_back(self):
        result = {"date": "today", "peers": {"x": {"version": "1"}, "y": None},
                  "shapes": [{"shape": "1,1,16,7", "x": [1.5, 2.25]},
                             {"shape": "128,1,128,4096", "x": [1.125, 3.0]}]}
        text = result_file.text(result)
        self.assertEqual(json.loads(text), result)
        rows = [line for line in text.splitlines() if '"shape"' in line]
        self.assertEqual(len(rows), 2)
        self.assertEqual(*(row.index('"x"') for row in rows))

    def test_recorded_results_have_this_form(self):
        folder = ROOT / "benchmarks/results"
        dense = sorted(folder.glob("*_dense.json"))
        self.assertGreater(len(dense), 0)
        for path in folder.glob("*.json"):
            self.assertEqual(path.read_text(), result_file.text(json.loads(path.read_text())), path)
        for path in dense:
            result = json.loads(path.read_text())
            for name, over in result["over"].items():
                for i in range(2):
                    medians = [row[name][i][1] for row in result["shapes"]]
                    self.assertAlmostEqual(over["geometric_mean"][i],
                                           peer_ratios.geometric_mean(medians), delta=6e-4)
                    self.assertEqual(over["least"][i], min(medians))
                    self.assertEqual(over["shapes"], len(medians))
                    for least, median, most in (row[name][i] for row in result["shapes"]):
                        self.assertTrue(0 < least <= median <= most, (path, name))

    def test_recorded_results_are_light(self):
        size = sum(path.stat().st_size for path in (ROOT / "benchmarks/results").iterdir())
        self.assertLess(size, 120_000)


class FakeLibrary:
    """A library with figures that are known; ours also reports its machine, as `bench` does."""

    def __init__(self, name, *_):
        self.name = name if name == UPSTREAM else OURS
        self.facts = {"version": "2", "torch": "3", "gpu": "NVIDIA H200"}
        self.report = {"version": "1", "roofline": {"bytes_per_second": 4.3914e12,
                                                    "flop_per_second": 8.7e14},
                       "machine": {"processor": "p", "system": "s", "threads": 2,
                                   "gpu": {"name": "NVIDIA H200", "driver": "580"}}}

    def times(self, shapes):
        return [times(20e-6, 12e-6) if self.name == UPSTREAM else times(10e-6, 8e-6)
                for _ in shapes]

    def ask(self, _):
        residual = 1e-3 if self.name == UPSTREAM else 2e-3
        return {"residual": residual, "bias": 1e-4, "distance": 1e-6}

    def close(self):
        pass


@mock.patch.multiple(compare_peers, Peer=FakeLibrary, Ours=FakeLibrary)
@mock.patch("builtins.print")
class ResultFiles(unittest.TestCase):
    def result(self, *words):
        """The one file that a comparison of fake libraries writes: (name, contents)."""
        with tempfile.TemporaryDirectory() as folder:
            words = ["compare_peers.py", "--flash-mla", "x", "--results", folder, *words]
            with mock.patch.object(sys, "argv", words):
                compare_peers.main()
            (path,) = pathlib.Path(folder).iterdir()
            return path.name, json.loads(path.read_text())

    def test_a_dense_result_has_the_figures_and_where_they_come_from(self, _):
        name, result = self.result("--shape", "4,1,128,8192")
        self.assertRegex(name, r"^\d{4}-\d\d-\d\d_\d{4}_h200_dense\.json$")
        self.assertEqual(result["machine"], {"gpu": "NVIDIA H200", "driver": "580",
                                             "processor": "p", "system": "s"})
        self.assertEqual(result["roofline"]["bytes_per_second"], 4391000000000)
        self.assertEqual((result["version"], result["rounds"]), ("1", 5))
        self.assertEqual(result["peers"], {UPSTREAM: {"version": "2", "torch": "3"}})
        self.assertEqual(result["shapes"][0]["us"], [[10] * 3, [8] * 3])
        self.assertEqual(result["shapes"][0][UPSTREAM], [[2] * 3, [1.5] * 3])
        self.assertNotIn(OURS, result["over"])
        self.assertGreater(len(result["commit"]), 6)

    def test_an_accuracy_result_too(self, _):
        name, result = self.result("--accuracy")
        self.assertRegex(name, "_h200_accuracy.json$")
        self.assertEqual(len(result["cases"]), 2 * len(peer_accuracy.CASES))
        self.assertEqual((result["geometric_mean"], result["largest"]), (2, 2))
        self.assertEqual(set(result["libraries"]), {OURS, UPSTREAM})
        self.assertEqual(set(result["machine"]), {"gpu", "driver"})


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
