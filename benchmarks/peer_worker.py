"""Times calls of another library, in a process of its own: benchmarks/compare_peers.py starts it.
Reads shapes from standard input, one JSON object a line, and answers each with its times.
usage: peer_worker.py upstream|flashinfer|flashinfer_p1 [PATH to look for the package first]

A call is a replay of a CUDA graph, as `flashmla bench` times it: cold, the median of 10 single
replays, one by one after a rest of 0.1 s, each after 512 MB were set, which flushes the L2 cache;
hot, the mean of replays back to back for more than 0.1 s. Schedules are made before."""

import inspect
import json
import math
import statistics
import sys
import time

from peer_ratios import Shape

PAGE = 64
LATENT, ROTARY = 512, 64
WIDTH = LATENT + ROTARY
SCALE = WIDTH ** -0.5
COLD, WARM_UP = 10, 2
HOT_SECONDS = 0.12
REST_SECONDS = 0.1
FLUSH_BYTES = 512 << 20


def tables(torch, lengths, page, device="cuda"):
    """A block table with every page somewhere else in the cache: (table, the pages of all requests
    in turn, how many each request has)."""
    counts = [-(-length // page) for length in lengths]
    order = torch.randperm(sum(counts), dtype=torch.int32)
    table = torch.zeros(len(lengths), max(counts), dtype=torch.int32)
    for row, part in zip(table, torch.split(order, counts)):
        row[: len(part)] = part
    return table.to(device), order.to(device), counts


class Upstream:
    """A package `flash_mla`, of either interface."""

    def __init__(self, torch):
        import flash_mla
        self.torch = torch
        self.module = flash_mla
        self.version = getattr(flash_mla, "__version__", "unknown")

    def call(self, shape):
        torch, lengths = self.torch, shape.lengths()
        table, _, counts = tables(torch, lengths, PAGE)
        cache = torch.randn(sum(counts), PAGE, 1, WIDTH, dtype=torch.bfloat16, device="cuda")
        q = torch.randn(shape.b, shape.s_q, shape.h_q, WIDTH, dtype=torch.bfloat16, device="cuda")
        return self.prepare(q, cache, table, lengths, shape.causal)

    def prepare(self, q, cache, table, lengths, causal):
        """A function that decodes; its schedule is made here or at its first call."""
        tokens = self.torch.tensor(lengths, dtype=self.torch.int32, device="cuda")
        metadata = self.module.get_mla_metadata
        first = next(iter(inspect.signature(metadata).parameters.values()), None)
        plain = first is None or first.default is not inspect.Parameter.empty \
            or first.kind is inspect.Parameter.VAR_POSITIONAL
        rows = q.shape[1] * q.shape[2]
        schedule, splits = metadata() if plain else metadata(tokens, rows, 1)
        return lambda: self.module.flash_mla_with_kvcache(
            q, cache, table, tokens, LATENT, schedule, splits, softmax_scale=SCALE,
            causal=causal)


class FlashInfer:
    def __init__(self, torch, page):
        import flashinfer
        self.torch = torch
        self.page = page
        self.version = flashinfer.__version__
        workspace = torch.empty(128 << 20, dtype=torch.int8, device="cuda")
        self.wrapper = flashinfer.mla.BatchMLAPagedAttentionWrapper(workspace, backend="fa3")

    def call(self, shape):
        torch, lengths = self.torch, shape.lengths()
        _, order, counts = tables(torch, lengths, self.page)

        def random(*size):
            return torch.randn(*size, dtype=torch.bfloat16, device="cuda")

        def starts(sizes):
            return torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0).int().cuda()

        latent = random(sum(counts), self.page, LATENT)
        rotary = random(sum(counts), self.page, ROTARY)
        rows = shape.b * shape.s_q
        q_latent = random(rows, shape.h_q, LATENT)
        q_rotary = random(rows, shape.h_q, ROTARY)
        self.wrapper.plan(starts([shape.s_q] * shape.b), starts(counts), order,
                          torch.tensor(lengths, dtype=torch.int32, device="cuda"), shape.h_q,
                          LATENT, ROTARY, self.page, shape.causal, SCALE, torch.bfloat16,
                          torch.bfloat16)
        return lambda: self.wrapper.run(q_latent, q_rotary, latent, rotary, return_lse=True)


class Timer:
    def __init__(self, torch):
        self.torch = torch
        self.flushed = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")

    def seconds(self, work):
        """Of what work() puts on the stream."""
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def time(self, call):
        call()  # plans where that happens at the first call
        self.torch.cuda.synchronize()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            results = call()
        cold = []
        time.sleep(REST_SECONDS)
        for _ in range(WARM_UP + COLD):
            self.flushed.zero_()
            cold.append(self.seconds(graph.replay))
        cold = cold[WARM_UP:]
        replays = max(20, math.ceil(1.2 * HOT_SECONDS / min(cold)))
        for _ in range(replays // 8):
            graph.replay()
        hot = self.seconds(lambda: [graph.replay() for _ in range(replays)]) / replays
        if not all(bool(self.torch.isfinite(result).all()) for result in results[:1]):
            raise RuntimeError("results that are not finite")
        return {"cold": statistics.median(cold), "hot": hot}


def make_peer(torch, name):
    if name == "upstream":
        return Upstream(torch)
    return FlashInfer(torch, 1 if name.endswith("_p1") else PAGE)


def main():
    name = sys.argv[1]
    sys.path[:0] = sys.argv[2:3]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints
    import torch
    peer = make_peer(torch, name)
    timer = Timer(torch)
    print(json.dumps({"version": peer.version, "torch": torch.__version__,
                      "gpu": torch.cuda.get_device_name()}), file=answers, flush=True)
    for line in sys.stdin:
        torch.manual_seed(0)
        times = timer.time(peer.call(Shape(**json.loads(line))))
        print(json.dumps(times), file=answers, flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
