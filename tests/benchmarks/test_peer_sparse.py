#!/usr/bin/env python3
"""The arithmetic of `compare_peers.py --suite sparse`, and the whole of it beside libraries that
are not there. usage: test_peer_sparse.py ROOT"""

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
import peer_ratios  # noqa: E402
import peer_sparse  # noqa: E402
import result_file  # noqa: E402
from peer_ratios import OURS, UPSTREAM  # noqa: E402
from peer_sparse import FLASHINFER, SparseShape, parse_shape  # noqa: E402


def times(cold, hot):
    return {"cold": cold, "hot": hot}


class Shapes(unittest.TestCase):
    def test_text_comes_back(self):
        for shape in (SparseShape("v32", 64, 1, 8, 2048),
                      SparseShape("v4", 2, 2, 64, 128, 1024, 2),
                      SparseShape("v32", 64, 1, 16, 2048, valid=256),
                      SparseShape("bf16", 64, 1, 16, 2048, valid=256, scattered=True)):
            self.assertEqual(parse_shape(shape.text()), shape)
        self.assertEqual(parse_shape("v4:1,1,8,128+512").extra_page, 64)
        for text in ("", "1,1,8,2048", "v5:1,1,8,2048", "v32:1,1,8", "v32:1,1,8,2048,valid",
                     "v32:1,1,8,2048,causal", "v4:1,1,8,128+", "v4:1,1,8,128@64"):
            with self.assertRaises(ValueError, msg=text):
                parse_shape(text)

    def test_the_recorded_calls_are_among_those_that_are_judged(self):
        path = ROOT / "benchmarks/reference/h200_upstream_sparse.json"
        reference = json.loads(path.read_text())
        judged = {shape.text() for shape in peer_sparse.shapes_of(peer_sparse.FORMATS)}
        for name in ("v32", "v4"):
            for row in reference["sparse_decode_" + name]:
                shape = parse_shape(f"{name}:{row['shape']}")
                self.assertEqual(sum(shape.lengths()), row["tokens"])
                self.assertEqual(shape.slots(), row["slots"])
                self.assertEqual(shape.page(), row["page_size"])
                self.assertEqual(shape.padded_heads() > shape.h_q, row["padded"])
                if shape.s_q == 1 or name == "v4":
                    self.assertIn(shape.text(), judged)

    def test_counts_entries_that_name_a_slot(self):
        self.assertEqual(sum(parse_shape("v32:2,3,8,2048,valid256").lengths()), 6 * 256)
        self.assertEqual(sum(parse_shape("v4:2,3,8,128+512").lengths()), 6 * 640)


class Groups(unittest.TestCase):
    SHAPES = ["v32:128,1,128,2048", "v32:256,1,128,2048", "bf16:1,1,16,2048"]

    def judged(self, ratios):
        """Of our 10 µs and others that take `ratios` of it: (cold, hot) for each of SHAPES."""
        shapes = [parse_shape(text) for text in self.SHAPES]
        upstream = [times(10 * cold, 10 * hot) for cold, hot in ratios[:2]] + [None]
        flashinfer = [None, None, times(*(10 * ratio for ratio in ratios[2]))]
        rounds = [{OURS: [times(10, 10)] * 3, UPSTREAM: upstream, FLASHINFER: flashinfer}] * 5
        comparison = peer_ratios.compare(rounds, shapes)
        return {row["group"]: row for row in peer_sparse.judge(comparison)}, comparison

    def test_a_group_is_judged_by_mean_and_least_cold_and_hot(self):
        found, _ = self.judged([(1.1, 1.1), (1.3, 1.1), (2, 1.2)])
        large = found["v32, h 128, large"]
        self.assertEqual(large["shapes"], "2 of 4")
        self.assertAlmostEqual(large["geometric_mean"][0], (1.1 * 1.3) ** 0.5)
        self.assertAlmostEqual(large["least"][1], 1.1)
        self.assertTrue(large["reached"])
        self.assertFalse(found["bf16, h 16 and 128"]["reached"])  # hot 1.2 of 1.3
        self.assertEqual(set(found), {"v32, h 128, large", "bf16, h 16 and 128"})

    def test_one_slow_call_misses_the_bar(self):
        found, _ = self.judged([(1.03, 1.5), (1.5, 1.5), (2, 2)])
        self.assertFalse(found["v32, h 128, large"]["reached"])
        self.assertTrue(found["bf16, h 16 and 128"]["reached"])

    def test_tables_and_records_have_what_a_library_does_not_serve(self):
        found, comparison = self.judged([(1.1, 1.1), (1.3, 1.1), (2, 1.2)])
        text = peer_sparse.table(list(found.values()))
        for part in ("v32, h 128, large", "1.15 / 1.08", "1.20 / 1.10", "reached", "MISSED"):
            self.assertIn(part, text)
        self.assertIn("bf16:1,1,16,2048", peer_ratios.table(comparison))
        record = {"groups": list(found.values()), **peer_ratios.record(comparison)}
        self.assertIsNone(json.loads(result_file.text(record))["shapes"][2][UPSTREAM])

    def test_every_group_has_its_calls_once(self):
        texts = [shape.text() for shape in peer_sparse.shapes_of(peer_sparse.FORMATS)]
        self.assertEqual(len(texts), len(set(texts)))
        for group in peer_sparse.groups():
            self.assertGreater(min(group.mean + group.least), 0.99)


# `flashmla bench` as far as a comparison knows it: 10 µs for each call.
COMMAND = """#!/usr/bin/env python3
import json, sys
words = sys.argv[1:]
assert words[:6] == ["bench", "--backend", "cuda", "--json", "-", "--suite"], words
assert words[6:8] == ["sparse", "--format"], words
def tokens(text):
    b, s_q, _, lists, *flags = text.split(",")
    main, _, extra = lists.partition("+")
    valid = [int(flag.strip("validscatered")) for flag in flags] or [int(main)]
    return int(b) * int(s_q) * (valid[0] + int(extra.split("@")[0] or 0))
shapes = [{"tokens": tokens(t), "cold_s": 10e-6, "hot_s": 8e-6} for t in words[10::2]]
gpu = {"name": "NVIDIA H200", "driver": "580"}
print(json.dumps({"version": "1", "roofline": {"bytes_per_second": 4e12, "flop_per_second": 8e14},
                  "machine": {"processor": "p", "system": words[8], "gpu": gpu},
                  "shapes": shapes}))
"""


class FakePeer:
    def __init__(self, name, *_, **__):
        self.name = name
        self.facts = {"version": "2", "torch": "3"}

    def times(self, shapes):
        serves = ("bf16",) if self.name == FLASHINFER else ("v32", "v4")
        return [times(20e-6, 12e-6) if shape.format in serves else None for shape in shapes]

    def close(self):
        pass


@mock.patch.object(compare_peers, "Peer", FakePeer)
@mock.patch("builtins.print")
class ResultFiles(unittest.TestCase):
    def result(self, *words):
        with tempfile.TemporaryDirectory() as folder:
            command = pathlib.Path(folder) / "flashmla"
            command.write_text(COMMAND)
            command.chmod(0o755)
            results = pathlib.Path(folder) / "results"
            words = ["compare_peers.py", "--suite", "sparse", "--flashmla", str(command),
                     "--results", str(results), *words]
            with mock.patch.object(sys, "argv", words):
                compare_peers.main()
            (path,) = results.iterdir()
            self.assertEqual(path.read_text(), result_file.text(json.loads(path.read_text())))
            return path.name, json.loads(path.read_text())

    def test_all_calls_of_both_libraries(self, _):
        name, result = self.result("--flash-mla", "x", "--flashinfer")
        self.assertRegex(name, r"^\d{4}-\d\d-\d\d_\d{4}_h200_sparse\.json$")
        self.assertEqual(len(result["shapes"]), len(peer_sparse.shapes_of(peer_sparse.FORMATS)))
        self.assertEqual(len(result["groups"]), len(peer_sparse.groups()))
        self.assertEqual(result["shapes"][0]["us"], [[10] * 3, [8] * 3])
        self.assertEqual(result["over"][UPSTREAM]["geometric_mean"], [2, 1.5])
        self.assertEqual(result["over"][FLASHINFER]["shapes"], 10)
        self.assertLess(len(result_file.text(result)), 40_000)

    def test_formats_and_shapes_are_chosen(self, _):
        _, result = self.result("--flash-mla", "x", "--format", "v4")
        self.assertEqual({row["shape"][:3] for row in result["shapes"]}, {"v4:"})
        _, result = self.result("--flash-mla", "x", "--shape", "v32:64,1,16,2048,scattered256",
                                "--shape", "v4:2,1,16,128+512@64")
        self.assertEqual([row["tokens"] for row in result["shapes"]], [64 * 256, 2 * 640])
        self.assertEqual([row["group"] for row in result["groups"]], ["v32, 256 scattered"])


def torch_or_none():
    try:
        import torch
    except ImportError:
        return None
    return torch


@unittest.skipUnless(torch_or_none(), "no PyTorch")
class Tensors(unittest.TestCase):
    """What sparse_worker.py makes, on the CPU."""

    def setUp(self):
        import sparse_worker
        self.torch = torch_or_none()
        self.torch.manual_seed(1)
        self.make = sparse_worker.Maker(self.torch, "cpu")

    def tokens(self, name, page):
        """(e4m3 as floats, scales, rotary parts) of the first page of a small cache."""
        torch = self.torch
        cache = getattr(self.make, name + "_cache")(3, page)
        self.assertEqual(tuple(cache.shape[:3]), (3, page, 1))
        if name == "v32":
            rows = cache[0, :, 0]
            return (rows[:, :512].contiguous().view(torch.float8_e4m3fn).float(),
                    rows[:, 512:528].contiguous().view(torch.float32),
                    rows[:, 528:].contiguous().view(torch.bfloat16))
        self.assertEqual(cache.stride(0) % 576, 0)
        image = torch.as_strided(cache, (page * 584,), (1,))
        rows = image[:page * 576].view(page, 576)
        exponents = image[page * 576:].view(page, 8)[:, :7].float()
        return (rows[:, :448].contiguous().view(torch.float8_e4m3fn).float(),
                torch.exp2(exponents - 127), rows[:, 448:].contiguous().view(torch.bfloat16))

    def test_caches_hold_quantised_rows_in_the_format(self):
        for name, page, tile in (("v32", 64, 128), ("v4", 256, 64), ("v4", 2, 64)):
            codes, scales, rotary = self.tokens(name, page)
            largest = codes.view(len(codes), -1, tile).abs().amax(-1)
            self.assertTrue(bool(((largest > 220) & (largest <= 448)).all()), name)
            self.assertTrue(bool((self.torch.log2(scales) % 1 == 0).all()), name)
            numbers = codes.view(len(codes), -1, tile) * scales[..., None]
            self.assertAlmostEqual(float(numbers.std()), 1, delta=0.1)
            self.assertAlmostEqual(float(rotary.float().std()), 1, delta=0.2)

    def test_lists_name_distinct_slots_of_the_requests_own_pages(self):
        shape = parse_shape("v4:3,2,64,128+512@2")
        lists = self.make.lists(shape, 512, 2)
        owners = {}
        for request in range(3):
            for slots in lists[request].tolist():
                self.assertEqual(len(set(slots)), 512)
                for slot in slots:
                    self.assertTrue(0 <= slot < 3 * 16384)
                    self.assertEqual(owners.setdefault(slot // 2, request), request)

    def test_valid_entries_stand_first_or_anywhere(self):
        shape = parse_shape("v32:1,1,16,2048,valid256")
        first = self.make.lists(shape, 2048, 64, 256)[0, 0]
        self.assertTrue(bool((first[:256] >= 0).all() and (first[256:] == -1).all()))
        anywhere = self.make.lists(shape, 2048, 64, 256, True)[0, 0]
        self.assertEqual(int((anywhere >= 0).sum()), 256)
        self.assertGreater(int((anywhere[1024:] >= 0).sum()), 0)


class Command(unittest.TestCase):
    def test_wants_shapes_with_a_format(self):
        script = ROOT / "benchmarks/compare_peers.py"
        for words in (["--suite", "sparse", "--flashinfer", "--shape", "1,1,16,2048"],
                      ["--flashinfer", "--format", "v4"]):
            result = subprocess.run([sys.executable, "-B", str(script), *words],
                                    capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words[-2], result.stderr)


if __name__ == "__main__":
    unittest.main()
