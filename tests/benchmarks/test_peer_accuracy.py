#!/usr/bin/env python3
"""The arithmetic of `compare_peers.py --accuracy`; with PyTorch on the CPU also what its workers
draw and compute. usage: test_peer_accuracy.py ROOT"""

import importlib.util
import json
import math
import pathlib
import random
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.dont_write_bytecode = True

import accuracy_worker  # noqa: E402
import peer_accuracy  # noqa: E402
import result_file  # noqa: E402
from peer_accuracy import CASES, DTYPES  # noqa: E402
from peer_ratios import OURS, UPSTREAM  # noqa: E402


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def errors(out, ref):
    """Of rows that are lists of numbers."""
    return peer_accuracy.errors([(dot(a, a), dot(a, b), dot(b, b)) for a, b in zip(out, ref)])


def normal_rows(count=8, width=512):
    draw = random.Random(1)
    return [[draw.gauss(0, 0.1) for _ in range(width)] for _ in range(count)]


class Errors(unittest.TestCase):
    def test_equal_rows_have_none(self):
        ref = normal_rows()
        for name, error in errors(ref, ref).items():
            self.assertLess(error, 1e-7, name)

    def test_a_row_that_is_too_long_is_bias_alone(self):
        ref = normal_rows()
        found = errors([[x * (1 + 1e-4) for x in row] for row in ref], ref)
        self.assertAlmostEqual(found["bias"], 1e-4, delta=1e-9)
        self.assertLess(found["residual"], 1e-7)

    def test_biases_of_two_signs_do_not_cancel(self):
        ref = normal_rows(2)
        out = [[x * 1.01 for x in ref[0]], [x * 0.99 for x in ref[1]]]
        self.assertAlmostEqual(errors(out, ref)["bias"], 0.01, delta=1e-9)

    def test_a_part_at_right_angles_is_residual_alone(self):
        found = errors([[3.0, 0.003]], [[3.0, 0.0]])
        self.assertAlmostEqual(found["residual"], 1e-3, delta=1e-9)
        self.assertEqual(found["bias"], 0)

    def test_distance_is_of_the_whole_tensor(self):
        found = errors([[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])
        self.assertAlmostEqual(found["distance"], 1 - 2 * 3 / (5 + 2))

    def test_a_planted_loss_is_seen(self):
        """Rows rounded to 8 bits, as bf16 does, beside rows of which one in 8 is rounded to 7."""
        def rounded(row, bits):
            scale = [2.0 ** (math.frexp(x)[1] - bits) for x in row]
            return [round(x / unit) * unit for x, unit in zip(row, scale)]

        ref = normal_rows()
        good = errors([rounded(row, 8) for row in ref], ref)
        bad = errors([rounded(row, 7 if i == 5 else 8) for i, row in enumerate(ref)], ref)
        self.assertLess(good["residual"], 2 ** -8)
        self.assertGreater(bad["residual"], 1.08 * good["residual"])
        self.assertGreater(bad["distance"], 1.08 * good["distance"])

    def test_results_that_are_not_finite_are_no_errors(self):
        for wrong in (math.nan, math.inf):
            with self.assertRaisesRegex(ValueError, "not finite"):
                errors([[1.0, wrong]], [[1.0, 1.0]])


class Comparison(unittest.TestCase):
    CALLS = peer_accuracy.requests()

    def found(self, residual):
        return [{"residual": residual(*call), "bias": 1e-4, "distance": 2e-6}
                for call in self.CALLS]

    def test_every_case_has_both_types_and_more_seeds_where_rows_are_few(self):
        self.assertEqual(len(self.CALLS), len(set(self.CALLS)))
        for case in CASES:
            for dtype in DTYPES:
                seeds = [seed for *call, seed in self.CALLS if call == [case, dtype]]
                self.assertEqual(len(seeds), 20 if case.b * case.h_q < 16 else 5, case)

    def test_a_ratio_is_of_the_means_over_seeds(self):
        theirs = self.found(lambda case, dtype, seed: 2e-3)
        ours = self.found(lambda case, dtype, seed: 2e-3 * (1 + seed / 10))
        comparison = peer_accuracy.compare(self.CALLS, {OURS: ours, UPSTREAM: theirs})
        for row in comparison["cases"]:
            self.assertAlmostEqual(row["ratio"], 1.95 if row["seeds"] == 20 else 1.2)
        self.assertAlmostEqual(comparison["largest"], 1.95)

    def test_one_case_that_lost_digits_is_the_largest(self):
        lost = (CASES[4], "bf16")
        theirs = self.found(lambda case, dtype, seed: 2e-3)
        ours = self.found(lambda *call: 2.6e-3 if call[:2] == lost else 2e-3)
        comparison = peer_accuracy.compare(self.CALLS, {OURS: ours, UPSTREAM: theirs})
        self.assertAlmostEqual(comparison["largest"], 1.3)
        self.assertAlmostEqual(comparison["geometric_mean"], 1.3 ** (1 / 26))
        self.assertIn("1.300", peer_accuracy.table(comparison))

    def test_a_record_has_three_errors_of_each_library(self):
        same = self.found(lambda case, dtype, seed: 2e-3)
        comparison = peer_accuracy.compare(self.CALLS, {OURS: same, UPSTREAM: same})
        record = json.loads(result_file.text(peer_accuracy.record(comparison)))
        self.assertEqual(record["cases"][0], {
            "case": "1,1,1,4096 · 0.1", "dtype": "bf16", "seeds": 20,
            OURS: [2e-3, 1e-4, 2e-6], UPSTREAM: [2e-3, 1e-4, 2e-6], "ratio": 1})


@unittest.skipUnless(importlib.util.find_spec("torch"), "no PyTorch")
class Worker(unittest.TestCase):
    def draw(self, dtype="bf16", seed=7):
        import torch
        call = {"b": 3, "h_q": 4, "tokens": 140, "scale": 0.1, "dtype": dtype, "seed": seed}
        return (torch, *accuracy_worker.draw(torch, call, "cpu"))

    def test_draws_depend_on_the_seed_alone(self):
        torch, q, cache, table, lengths = self.draw()
        self.assertEqual((q.shape, q.dtype, lengths), ((3, 1, 4, 576), torch.bfloat16, [140] * 3))
        self.assertEqual(sorted(table.flatten().tolist()), list(range(9)))  # 3 pages a request
        self.assertEqual(cache.shape, (9, 64, 1, 576))
        self.assertAlmostEqual(cache.float().std().item(), 0.1, delta=0.001)
        for again, first in zip(self.draw()[1:4], (q, cache, table)):
            self.assertTrue(torch.equal(again, first))
        self.assertFalse(torch.equal(self.draw(seed=8)[1], q))

    def test_the_reference_is_attention_over_the_pages(self):
        torch, q, cache, table, lengths = self.draw(dtype="fp16")
        wanted = accuracy_worker.reference(torch, q, cache, table, lengths)
        rows = [cache[table[2, t // 64], t % 64, 0].double() for t in range(140)]
        weights = [math.exp(dot(q[2, 0, 1].tolist(), row.tolist()) * 576 ** -0.5) for row in rows]
        value = sum(w * row[5].item() for w, row in zip(weights, rows)) / sum(weights)
        self.assertAlmostEqual(wanted[2, 1, 5].item(), value, places=12)

    def test_a_planted_loss_is_seen(self):
        """A lost page, and weights that do not add up to 1, beside the reference in bf16."""
        torch, q, cache, table, lengths = self.draw()
        wanted = accuracy_worker.reference(torch, q, cache, table, lengths)
        shorter = accuracy_worker.reference(torch, q, cache, table, [128] * 3)

        def found(out):
            return peer_accuracy.errors(accuracy_worker.sums(out.double(), wanted))

        good = found(wanted.bfloat16())
        self.assertLess(good["residual"], 2.5e-3)
        self.assertGreater(found(shorter.bfloat16())["residual"], 10 * good["residual"])
        self.assertGreater(found((wanted * 0.99).bfloat16())["bias"], 10 * good["bias"])


if __name__ == "__main__":
    unittest.main()
