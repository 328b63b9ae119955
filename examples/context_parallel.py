#!/usr/bin/env python3
"""Context parallelism: each rank holds some pages of every sequence, and results are merged.

    pip install . torch
    torchrun --nproc-per-node 3 examples/context_parallel.py   # on GPUs where there are enough
    python examples/context_parallel.py --ranks 3              # starts the ranks itself

Pages are dealt out in turn: page i of a request belongs to rank i mod ranks. A rank decodes its
pages as if they were the whole request. The partial results are gathered and merged by log-sum-exp
with flash_mla.merge_states, which also applies the attention sink once. Each rank compares the
result with a decoding call over the whole cache. The program fails where they differ by more than
the rounding of bf16.
"""

import argparse
import os
import sys

import flash_mla
import torch
import torch.distributed as dist
import torch.multiprocessing

PAGE, HEADS = 64, 16


def whole_problem(seed, device):
    """(q, cache, block_table, lengths, sink), the same tensors on every rank."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([700, 1, 64, 0, 1234], dtype=torch.int32)
    width = int(-(-lengths.max() // PAGE))
    pages = len(lengths) * width
    table = torch.randperm(pages, generator=generator).view(len(lengths), width).int()
    q = torch.randn(len(lengths), 1, HEADS, 576, generator=generator).bfloat16()
    cache = torch.randn(pages, PAGE, 1, 576, generator=generator).bfloat16()
    sink = torch.randn(HEADS, generator=generator)
    return [tensor.to(device) for tensor in (q, cache, table, lengths, sink)]


def my_part(cache, table, lengths, rank, ranks):
    """(cache, block_table, lengths) of this rank, with every ranks-th page of each request.

    Only the last page of a request may be partly filled. It is also the last page of its rank.
    """
    mine = list(range(rank, table.shape[1], ranks))
    first_token = torch.tensor(mine, device=lengths.device) * PAGE
    tokens = (lengths[:, None] - first_token).clamp(0, PAGE).sum(1)
    part = cache[table[:, mine].reshape(-1).long()]  # the pages that this rank stores
    pages = torch.arange(len(part), dtype=torch.int32, device=table.device)
    return part, pages.view(len(lengths), len(mine)), tokens.int()


def decode(q, cache, table, lengths, sink=None):
    schedule, _ = flash_mla.get_mla_metadata()
    return flash_mla.flash_mla_with_kvcache(q, cache, table, lengths, 512, schedule, attn_sink=sink)


def gather(tensor, ranks):
    parts = [torch.empty_like(tensor) for _ in range(ranks)]
    dist.all_gather(parts, tensor.contiguous())
    return parts


def run(seed):
    rank, ranks = dist.get_rank(), dist.get_world_size()
    device = f"cuda:{rank}" if dist.get_backend() == "nccl" else "cpu"
    if device != "cpu":
        torch.cuda.set_device(rank)
    q, cache, table, lengths, sink = whole_problem(seed, device)
    out, lse = decode(q, *my_part(cache, table, lengths, rank, ranks))
    out, lse = flash_mla.merge_states(gather(out, ranks), gather(lse, ranks), sink)
    wanted, wanted_lse = decode(q, cache, table, lengths, sink)
    distance = (out.float() - wanted.float()).norm(dim=-1)
    relative = float((distance / wanted.float().norm(dim=-1).clamp_min(1e-9)).max())
    seen = torch.isfinite(wanted_lse)
    lse_error = float((lse - wanted_lse)[seen].abs().max())
    right = relative < 2**-6 and lse_error < 1e-4 and torch.equal(lse[~seen], wanted_lse[~seen])
    if rank == 0:
        print(
            f"{ranks} ranks on {dist.get_backend()}, lengths {lengths.tolist()}: largest relative "
            f"difference of a row {relative:.2e}, of lse {lse_error:.2e}"
        )
        print("equal to the single rank" if right else "DIFFERS FROM THE SINGLE RANK")
    return right


def start(rank, arguments, store):
    gpus = torch.cuda.device_count()
    backend = "nccl" if gpus >= arguments.ranks > 1 else "gloo"
    if store is None:  # torchrun has set the rank and the number of ranks
        gpus_enough = gpus >= int(os.environ["WORLD_SIZE"]) > 1
        dist.init_process_group("nccl" if gpus_enough else "gloo")
    else:
        dist.init_process_group(
            backend, init_method=f"file://{store}", rank=rank, world_size=arguments.ranks
        )
    try:
        right = run(arguments.seed)
    finally:
        dist.destroy_process_group()
    if not right:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    if "RANK" in os.environ:
        start(0, arguments, None)
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(start, (arguments, f"{folder}/store"), arguments.ranks)


if __name__ == "__main__":
    main()
