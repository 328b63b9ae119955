#!/usr/bin/env python3
"""Times FlashMLA and other installed libraries on one GPU, in alternating rounds, and prints how
many times as fast FlashMLA is. Needs PyTorch, and the libraries.

    python3 benchmarks/compare_peers.py --flash-mla PATH [--flashinfer] [--shape 1,1,128,8192 ...]
    python3 benchmarks/compare_peers.py --flash-mla PATH --accuracy [--ours PATH]

PATH is the folder that holds another package `flash_mla`. The shapes are those of
benchmarks/reference unless given. In each round every library times every shape, in an order that
turns; a ratio is the median over the rounds. FlashAttention-3 is estimated: its recorded ratio to
upstream times upstream's time of the round. The result, with machine, driver, date and commit, goes
to benchmarks/results, in the form of benchmarks/result_file.py.

--accuracy compares errors against float64 instead, on the same inputs in bf16 and fp16
(benchmarks/peer_accuracy.py). It takes our Python package from the folder --ours, or the installed
one."""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

import peer_accuracy
import peer_ratios
import result_file
from peer_ratios import OURS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


class Peer:
    """Another library in a process of its own."""

    def __init__(self, name, path=None, worker="peer_worker.py"):
        self.name = name
        command = [sys.executable, str(HERE / worker), name, *([str(path)] * bool(path))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.facts = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"compare_peers: {self.name} ended: see above")
        return json.loads(line)

    def ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def times(self, shapes):
        return [self.ask(vars(shape)) for shape in shapes]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    def __init__(self, command):
        self.name = OURS
        self.command = command
        self.report = {}

    def times(self, shapes):
        words = [self.command, "bench", "--backend", "cuda", "--json", "-"]
        for shape in shapes:
            words += ["--shape", shape.text()]
        result = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"compare_peers: {self.command} ended with {result.returncode}")
        self.report = json.loads(result.stdout)
        for shape, entry in zip(shapes, self.report["shapes"]):
            if entry["tokens"] != sum(shape.lengths()):
                sys.exit(f"compare_peers: {shape.text()}: other lengths, {entry['tokens']} tokens")
        return [{side: entry[side + "_s"] for side in peer_ratios.SIDES}
                for entry in self.report["shapes"]]

    def close(self):
        pass


def commit():
    """Of the repository, with a mark where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12",
               "--exclude=*"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def driver():
    """Of the GPU; `flashmla bench` reports it, PyTorch does not."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def read_reference(name):
    return json.loads((HERE / "reference" / name).read_text())


def result_path(folder, gpu, date, suite):
    card = gpu.replace("NVIDIA ", "").split()[0].lower()
    return folder / f"{date:%Y-%m-%d_%H%M}_{card}_{suite}.json"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flashmla", default=str(ROOT / "build/bin/flashmla"),
                        help="our command")
    parser.add_argument("--flash-mla", type=pathlib.Path, metavar="PATH",
                        help="folder that holds the package flash_mla to compare with")
    parser.add_argument("--flashinfer", action="store_true", help="compare with FlashInfer")
    parser.add_argument("--accuracy", action="store_true", help="compare errors, not times")
    parser.add_argument("--ours", type=pathlib.Path, metavar="PATH",
                        help="with --accuracy: folder that holds our package flash_mla")
    parser.add_argument("--shape", action="append", type=peer_ratios.parse_shape,
                        help="b,s_q,h_q,tokens[,varlen][,causal]; may be repeated")
    parser.add_argument("--rounds", type=int, default=peer_ratios.LEAST_ROUNDS)
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results",
                        help="folder for the result")
    given = parser.parse_args()
    if given.rounds < peer_ratios.LEAST_ROUNDS:
        parser.error(f"--rounds: wanted at least {peer_ratios.LEAST_ROUNDS}")
    if not (given.flash_mla or given.flashinfer):
        parser.error("wanted --flash-mla PATH or --flashinfer")
    if given.accuracy and not given.flash_mla:
        parser.error("--accuracy: wanted --flash-mla PATH")
    if given.ours and not given.accuracy:
        parser.error("--ours: wanted with --accuracy alone")
    return given


def run_rounds(libraries, shapes, count, peers):
    rounds = []
    for n in range(count):
        turn = n % len(libraries)
        times = {library.name: library.times(shapes)
                 for library in libraries[turn:] + libraries[:turn]}
        ordered = {library.name: times[library.name] for library in libraries}
        rounds.append(peer_ratios.with_fa3(ordered, shapes, peers))
        print(f"round {n + 1} of {count}", file=sys.stderr)
    return rounds


def write_result(given, result, gpu, date, suite):
    given.results.mkdir(parents=True, exist_ok=True)
    path = result_path(given.results, gpu, date, suite)
    path.write_text(result_file.text(result))
    return path


def origin(date):
    return {"date": f"{date:%Y-%m-%dT%H:%M:%SZ}", "commit": commit()}


def versions(library):
    return {name: library.facts[name] for name in ("version", "torch")}


def compare_accuracy(given):
    calls = peer_accuracy.requests()
    libraries = [Peer(name, path, "accuracy_worker.py")
                 for name, path in ((OURS, given.ours), (peer_ratios.UPSTREAM, given.flash_mla))]
    try:
        found = {library.name: [library.ask({**vars(case), "dtype": dtype, "seed": seed})
                                for case, dtype, seed in calls] for library in libraries}
    finally:
        for library in libraries:
            library.close()
    comparison = peer_accuracy.compare(calls, found)
    date = datetime.datetime.now(datetime.timezone.utc)
    gpu = libraries[0].facts["gpu"]
    result = {"what": peer_accuracy.WHAT, **origin(date),
              "machine": {"gpu": gpu, "driver": driver()},
              "libraries": {library.name: versions(library) for library in libraries},
              **peer_accuracy.record(comparison)}
    path = write_result(given, result, gpu, date, "accuracy")
    print(f"{gpu}, commit {result['commit']}\n\n{peer_accuracy.table(comparison)}\n\nwrote {path}")


def main():
    given = arguments()
    if given.accuracy:
        compare_accuracy(given)
        return
    shapes = given.shape or peer_ratios.shapes_of(read_reference("h200_upstream_dense.json"))
    others = [Peer(peer_ratios.UPSTREAM, given.flash_mla)] if given.flash_mla else []
    if given.flashinfer:
        others += [Peer("flashinfer"), Peer("flashinfer_p1")]
    ours = Ours(given.flashmla)
    try:
        rounds = run_rounds([ours, *others], shapes, given.rounds,
                            read_reference("h200_peers_dense.json"))
    finally:
        for library in others:
            library.close()
    comparison = peer_ratios.compare(rounds, shapes)
    date = datetime.datetime.now(datetime.timezone.utc)
    gpu = ours.report["machine"]["gpu"]
    result = {"what": peer_ratios.WHAT, **origin(date), "version": ours.report["version"],
              "machine": {"gpu": gpu["name"], "driver": gpu["driver"],
                          "processor": ours.report["machine"]["processor"],
                          "system": ours.report["machine"]["system"]},
              "roofline": ours.report["roofline"], "rounds": len(rounds),
              "peers": {library.name: versions(library) for library in others},
              **peer_ratios.record(comparison)}
    path = write_result(given, result, gpu["name"], date, "dense")
    print(f"{gpu['name']}, driver {gpu['driver']}, commit {result['commit']}, "
          f"{len(rounds)} rounds\n\n{peer_ratios.table(comparison)}\n\nwrote {path}")


if __name__ == "__main__":
    main()
