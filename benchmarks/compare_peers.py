#!/usr/bin/env python3
"""Times FlashMLA and other installed libraries on one GPU, in alternating rounds, and prints how
many times as fast FlashMLA is. Needs PyTorch, and the libraries.

    python3 benchmarks/compare_peers.py --flash-mla PATH [--flashinfer] [--shape 1,1,128,8192 ...]
    python3 benchmarks/compare_peers.py --suite sparse --flash-mla PATH [--format v32 ...]
    python3 benchmarks/compare_peers.py --suite sparse --flashinfer --format bf16
    python3 benchmarks/compare_peers.py --flash-mla PATH --accuracy [--ours PATH]

PATH is the folder that holds another package `flash_mla`. The shapes are those of
benchmarks/reference unless given. In each round every library times every shape, in an order that
turns; a ratio is the median over the rounds. FlashAttention-3 is estimated: its recorded ratio to
upstream times upstream's time of the round. The result, with machine, driver, date and commit, goes
to benchmarks/results, in the form of benchmarks/result_file.py.

--suite sparse compares sparse decoding: FP8 caches with PATH, bf16 caches with FlashInfer and pages
of one token. The calls, the groups that they are judged in and what these have to reach are in
benchmarks/peer_sparse.py.

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
import peer_sparse
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
        return self.bench(shapes, [shape.text() for shape in shapes])

    def bench(self, shapes, texts, *options):
        words = [self.command, "bench", "--backend", "cuda", "--json", "-", *options]
        for text in texts:
            words += ["--shape", text]
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


class SparseOurs(Ours):
    """One run of the command has the caches of one format."""

    def times(self, shapes):
        found = {}
        for name in dict.fromkeys(shape.format for shape in shapes):
            part = [shape for shape in shapes if shape.format == name]
            texts = [shape.option() for shape in part]
            found.update(zip(part, self.bench(part, texts, "--suite", "sparse", "--format", name)))
        return [found[shape] for shape in shapes]


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
    parser.add_argument("--suite", default="dense", choices=("dense", "sparse"))
    parser.add_argument("--format", action="append", choices=peer_sparse.FORMATS,
                        help="with --suite sparse: formats whose calls are compared; may be "
                        "repeated (default: those that the other libraries serve)")
    parser.add_argument("--accuracy", action="store_true", help="compare errors, not times")
    parser.add_argument("--ours", type=pathlib.Path, metavar="PATH",
                        help="with --accuracy: folder that holds our package flash_mla")
    parser.add_argument("--shape", action="append",
                        help="b,s_q,h_q,tokens[,varlen][,causal]; may be repeated. Sparse: "
                        "FORMAT:b,s_q,h_q,topk[+extra_topk[@extra_page]][,validN|,scatteredN]")
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
    if given.format and given.suite != "sparse":
        parser.error("--format: wanted with --suite sparse alone")
    try:
        parse = peer_sparse.parse_shape if given.suite == "sparse" else peer_ratios.parse_shape
        given.shape = given.shape and [parse(text) for text in given.shape]
    except ValueError as error:
        parser.error(f"--shape: {error}")
    return given


def run_rounds(libraries, shapes, count, completed=lambda a_round: a_round):
    rounds = []
    for n in range(count):
        turn = n % len(libraries)
        times = {library.name: library.times(shapes)
                 for library in libraries[turn:] + libraries[:turn]}
        ordered = {library.name: times[library.name] for library in libraries}
        rounds.append(completed(ordered))
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


def compare_times(given, ours, others, shapes, completed=lambda a_round: a_round):
    """(what the rounds say, the result without it, its date); closes the other libraries."""
    try:
        rounds = run_rounds([ours, *others], shapes, given.rounds, completed)
    finally:
        for library in others:
            library.close()
    date = datetime.datetime.now(datetime.timezone.utc)
    machine = ours.report["machine"]
    result = {**origin(date), "version": ours.report["version"],
              "machine": {"gpu": machine["gpu"]["name"], "driver": machine["gpu"]["driver"],
                          "processor": machine["processor"], "system": machine["system"]},
              "roofline": ours.report["roofline"], "rounds": len(rounds),
              "peers": {library.name: versions(library) for library in others}}
    return peer_ratios.compare(rounds, shapes), result, date


def show(result, comparison, path, *more):
    machine = result["machine"]
    parts = [f"{machine['gpu']}, driver {machine['driver']}, commit {result['commit']}, "
             f"{result['rounds']} rounds", peer_ratios.table(comparison), *more, f"wrote {path}"]
    print("\n\n".join(parts))


def compare_dense(given):
    shapes = given.shape or peer_ratios.shapes_of(read_reference("h200_upstream_dense.json"))
    others = [Peer(peer_ratios.UPSTREAM, given.flash_mla)] if given.flash_mla else []
    if given.flashinfer:
        others += [Peer("flashinfer"), Peer("flashinfer_p1")]
    recorded = read_reference("h200_peers_dense.json")
    comparison, result, date = compare_times(
        given, Ours(given.flashmla), others, shapes,
        lambda a_round: peer_ratios.with_fa3(a_round, shapes, recorded))
    result = {"what": peer_ratios.WHAT, **result, **peer_ratios.record(comparison)}
    show(result, comparison, write_result(given, result, result["machine"]["gpu"], date, "dense"))


def compare_sparse(given):
    served = [*(("v32", "v4") if given.flash_mla else ()), *(("bf16",) if given.flashinfer else ())]
    shapes = given.shape or peer_sparse.shapes_of(given.format or served)
    others = []
    if given.flash_mla:
        others.append(Peer(peer_ratios.UPSTREAM, given.flash_mla, "sparse_worker.py"))
    if given.flashinfer:
        others.append(Peer(peer_sparse.FLASHINFER, worker="sparse_worker.py"))
    comparison, result, date = compare_times(given, SparseOurs(given.flashmla), others, shapes)
    groups = peer_sparse.judge(comparison)
    result = {"what": peer_sparse.WHAT, **result, "groups": groups,
              **peer_ratios.record(comparison)}
    path = write_result(given, result, result["machine"]["gpu"], date, "sparse")
    show(result, comparison, path, peer_sparse.table(groups))


def main():
    given = arguments()
    if given.accuracy:
        compare_accuracy(given)
    elif given.suite == "sparse":
        compare_sparse(given)
    else:
        compare_dense(given)


if __name__ == "__main__":
    main()
