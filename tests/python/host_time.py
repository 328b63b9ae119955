#!/usr/bin/env python3
"""Host time of a dense decode with a reused schedule and given outputs, in µs, as JSON.

usage: host_time.py [DEVICE]

Of the C++ library's run alone, of flash_mla_with_kvcache, and of the PyTorch operator.
"""

import json
import sys
import time

import cases
import frameworks
import numpy
import torch
from flash_mla import flash_mla_with_kvcache, get_mla_metadata
from flash_mla._call import Call


def host_times(calls, device, repeats=200, rounds=60):
    """Of each call the least of `rounds` means. A GPU is idle before each and its queue never full.

    The calls take turns, and a pause follows each round: on a machine that others share there are
    slow spells, longer than a round and shorter than all of them.
    """
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            if device == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(repeats):
                call()
            best[name] = min(best[name], (time.perf_counter() - started) / repeats)
        time.sleep(0.01)
    return {name: round(seconds * 1e6, 2) for name, seconds in best.items()}


def measure(device):
    """{"run": µs, "function": µs, "operator": µs}."""
    fw = frameworks.Torch(device)
    case = cases.dense(fw, numpy.random.default_rng(), b=2, h_q=16, longest=128)
    out, lse = fw.full((2, 1, 16, 512), 0.0, "bf16"), fw.full((2, 16, 1), 0.0, "fp32")
    meta = get_mla_metadata()[0]
    tensors = case.arguments()[:4]

    def function():
        flash_mla_with_kvcache(*tensors, 512, meta, out=out, lse=lse)

    schedule = torch.ops.flashmla.schedule(*tensors)

    def operator():
        torch.ops.flashmla.decode_out(*tensors, schedule, out, lse)

    function()
    operator()
    plan = meta._held.plan
    stream = plan.stream()
    memory = plan.run_memory(stream)
    call = Call({}, *tensors[:2])
    call.block_table, call.out, call.lse = tensors[2], out, lse
    run = plan.core.bind(call, memory.address, memory.bytes, stream)
    return host_times({"run": run, "function": function, "operator": operator}, device)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1] if len(sys.argv) > 1 else "cuda")))
