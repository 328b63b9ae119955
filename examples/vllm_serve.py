#!/usr/bin/env python3
"""vLLM serves a small random DeepSeek-V3 with FlashMLA and with its own backends; all are compared.

    pip install vllm==0.26.0 && pip install .                # one Hopper GPU
    python examples/vllm_serve.py                            # 16 and 128 heads, all backends
    python examples/vllm_serve.py --heads 16 --rounds 0      # only whether the results agree

The backends ("ways"), each one in a process of its own:

    custom      FlashMLA's backend: --attention-backend CUSTOM
    replaced    vLLM's FLASHMLA with FLASH_MLA_VLLM=1: FlashMLA in the place of the vendored kernels
    own         vLLM's FLASHMLA as it is
    flash_attn  FLASH_ATTN_MLA, vLLM's default on Hopper
    triton      TRITON_MLA

First each one decodes prompts of 5 to 6,000 tokens, eager and with full CUDA graphs. The
log-probabilities of given tokens are compared with those of `own`. FlashMLA agrees where its mean
difference is at most 1.1 times the largest one between two of vLLM's own, and 99 % of its
differences are at most 0.09. Then the backends take turns at timed decoding steps. The exit status
is 0 where all of FlashMLA's ways agree, and its kernels have run.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys

from vllm_model import compare, statistics_of

WORKER = pathlib.Path(__file__).with_name("vllm_worker.py")
OURS, THEIRS = ("custom", "replaced"), ("own", "flash_attn", "triton")
MOST_MEAN, MOST_P99 = 1.1, 0.09


class Engine:
    """A process of vllm_worker.py; its log goes into a file."""

    def __init__(self, way, heads, graphs, options):
        mode = "graphs" if graphs else "eager"
        self.log = options.logs / f"{way}-{heads}-{mode}.log"
        command = [sys.executable, str(WORKER), "--way", way, "--heads", str(heads)]
        command += ["--layers", str(options.layers)] + (["--graphs"] if graphs else [])
        self._file = self.log.open("w")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._file, text=True
        )
        self._answer()

    def ask(self, command):
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("RESULT "):
                return json.loads(line.removeprefix("RESULT "))
            self._file.write(line)
        raise SystemExit(f"a worker has ended with {self._process.wait()}: see {self.log}")

    def close(self):
        print("end", file=self._process.stdin, flush=True)
        self._process.communicate()
        self._file.close()


def differences(results, first, other):
    return compare(results[first]["rows"]["forced"], results[other]["rows"]["forced"])


def check_means(results, mode):
    """Prints the differences; returns what is wrong with FlashMLA's."""
    theirs = [way for way in THEIRS if way in results]
    spread = {
        pair: statistics_of(differences(results, *pair)[0])[0]
        for pair in itertools.combinations(theirs, 2)
    }
    for (first, other), mean in spread.items():
        print(f"  {mode}: {first} and {other} differ by {mean:.4f} in the mean")
    faults = []
    for way in [way for way in OURS if way in results]:
        if "own" not in results:
            continue
        mean, p99, most = statistics_of(differences(results, "own", way)[0])
        print(f"  {mode}: own and {way} differ by {mean:.4f}, p99 {p99:.4f}, at most {most:.4f}")
        # Not `mean > …`: NaN is a fault, too.
        if spread and not mean <= MOST_MEAN * max(spread.values()):
            faults.append(f"{way}, {mode}: the mean difference {mean:.4f} is too large")
        if not p99 <= MOST_P99:
            faults.append(f"{way}, {mode}: the p99 of the differences {p99:.4f} is too large")
    return faults


def check_calls(results, mode):
    """What is wrong with the functions that were called."""
    faults = []
    for way, result in results.items():
        print(f"  {mode}: {way} called {result['calls'] or 'neither FlashMLA'}")
        ours = sum(n for name, n in result["calls"].items() if name.startswith("FlashMLA"))
        own = sum(n for name, n in result["calls"].items() if name.startswith("vendored"))
        if way in OURS and (not ours or own):
            faults.append(f"{way}, {mode}: FlashMLA was called {ours} times, the vendored {own}")
        if way not in OURS and ours:
            faults.append(f"{way}, {mode}: FlashMLA was called {ours} times")
    return faults


def check_graphs(eager, graphs):
    """Prints how many requests have the same bits eager and in CUDA graphs."""
    for way in eager:
        for group in ("forced", "free"):
            first, other = (results[way]["rows"][group] for results in (eager, graphs))
            _, equal = compare(first, other)
            print(f"  {way}, {group}: {equal} of {len(first)} requests equal, eager and in graphs")


def time_in_turns(engines, options):
    """{(way, batch, context): timings}, one for each round."""
    timings: dict = {}
    for _ in range(options.rounds):
        for batch, context in itertools.product(options.batches, options.contexts):
            for way, engine in engines.items():
                result = engine.ask(f"time {batch} {context} {options.steps}")
                timings.setdefault((way, batch, context), []).append(result)
    return timings


def print_timings(timings, options):
    """A table of tokens a second and of attention's time a layer, and the kernels' names."""
    ways = list(dict.fromkeys(way for way, _, _ in timings))
    units = {"tokens/s": "tokens_per_s", "attention, µs a layer": "attention_us_a_layer"}
    for unit, field in units.items():
        print(f"  {unit:22}" + "".join(f"{way:>12}" for way in ways))
        for batch, context in itertools.product(options.batches, options.contexts):
            cells = [
                statistics.median(result[field] for result in timings[way, batch, context])
                for way in ways
            ]
            label = f"batch {batch}, context {context}"
            print(f"  {label:22}" + "".join(f"{cell:12.1f}" for cell in cells))
    for way in ways:
        names = {name for key in timings if key[0] == way for name in timings[key][-1]["kernels"]}
        print(f"  {way}: {', '.join(sorted(names)) or 'no kernel of a known name'}")


def check_kernels(timings):
    """What is wrong with the kernels that the profiler has seen."""
    faults = []
    for (way, batch, context), results in timings.items():
        ours = any("flashmla::" in name for name in results[-1]["kernels"])
        if ours != (way in OURS):
            what = "are not" if way in OURS else "are"
            faults.append(f"{way}, batch {batch}, context {context}: FlashMLA's kernels {what} run")
    return faults


def compare_heads(heads, options):
    """All that is compared of one model; returns what is wrong."""
    print(f"{heads} heads, {options.layers} layers")
    eager, graphs = {}, {}
    for way in options.ways:
        engine = Engine(way, heads, False, options)
        eager[way] = engine.ask("check")
        engine.close()
    engines = {way: Engine(way, heads, True, options) for way in options.ways}
    for way, engine in engines.items():
        graphs[way] = engine.ask("check")
    faults = []
    for mode, results in (("eager", eager), ("graphs", graphs)):
        faults += check_calls(results, mode) + check_means(results, mode)
    check_graphs(eager, graphs)
    timings = time_in_turns(engines, options)
    if timings:
        print_timings(timings, options)
        faults += check_kernels(timings)
    for engine in engines.values():
        engine.close()
    return faults


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--ways", nargs="+", choices=OURS + THEIRS, default=list(OURS + THEIRS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--steps", type=int, default=80, help="timed steps of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each backend; 0: none")
    parser.add_argument("--logs", type=pathlib.Path, default=pathlib.Path("vllm_serve_logs"))
    options = parser.parse_args(arguments)
    options.logs.mkdir(parents=True, exist_ok=True)
    faults = [fault for heads in options.heads for fault in compare_heads(heads, options)]
    for fault in faults:
        print(f"WRONG: {fault}")
    if not faults:
        print("FlashMLA agrees with vLLM's own backends")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
