#!/usr/bin/env python3
"""Context parallelism: each rank holds a part of every sequence, results merge by log-sum-exp.

    pip install . torch
    torchrun --nproc-per-node 2 examples/context_parallel.py   # on GPUs where there are as many
    python examples/context_parallel.py --ranks 4 --kind sparse --interleave 1   # starts the ranks

Tokens are dealt out in turn, --interleave of them at a time: token i belongs to rank
(i // interleave) % ranks. A page (64) at a time is the default; 1 deals out single tokens; with 0
each rank holds one run of pages of every request. A rank decodes over its tokens as if they were
the whole request: dense over a length of its own, sparse over those slots of the index lists that
it holds. The partial results are exchanged and merged with flash_mla.merge_states, which applies
the attention sink, once. Each rank compares with a decode over the whole cache, and fails where
they differ by more than docs/numerics.md allows.
"""

import argparse
import itertools
import os
import sys
import tempfile

import flash_mla
import torch
import torch.distributed as dist
import torch.multiprocessing

PAGE, HEADS, QUERY_TOKENS, TOPK = 64, 16, 2, 128
LENGTHS = 700, 1, 64, 0, 1234, 130
ROW_BOUND, LSE_BOUND = 2.0**-7, 1e-4


class Deal:
    """Which tokens of a request a rank holds, and where."""

    def __init__(self, interleave, rank, ranks, width):
        self.rank, self.ranks = rank, ranks
        # One run for each rank: its share of the pages that a request may have.
        self.interleave = interleave or -(-width // ranks) * PAGE

    def length(self, tokens):
        """How many of a request's first tokens the rank holds."""
        rounds = tokens // (self.interleave * self.ranks)
        rest = tokens - rounds * self.interleave * self.ranks
        mine = (rest - self.rank * self.interleave).clamp(0, self.interleave)
        return rounds * self.interleave + mine

    def holds(self, position):
        return position // self.interleave % self.ranks == self.rank

    def place(self, position):
        """The position of a token among those that the rank holds of the request."""
        rounds = position // (self.interleave * self.ranks)
        return rounds * self.interleave + position % self.interleave


class Problem:
    """A decoding step, the same on every rank.

    q: bf16 [b, s_q, h_q, d_qk]; rows: bf16 [b, tokens, d_qk], what the cache holds
    lengths: int32 [b], the s_q query tokens included
    picked: [b, s_q, topk] positions of the tokens that sparse attention sees, −1: none
    """

    def __init__(self, seed, d_qk, device):
        random = torch.Generator().manual_seed(seed)
        b, tokens = len(LENGTHS), max(LENGTHS)
        self.device = device
        self.width = -(-tokens // PAGE)
        self.lengths = torch.tensor(LENGTHS, dtype=torch.int32, device=device)
        self.q = torch.randn(b, QUERY_TOKENS, HEADS, d_qk, generator=random).bfloat16().to(device)
        self.rows = torch.randn(b, tokens, d_qk, generator=random).bfloat16().to(device)
        self.sink = torch.randn(HEADS, generator=random).to(device)
        draws = torch.rand(b, QUERY_TOKENS, tokens, generator=random).to(device)
        draws = draws.masked_fill(torch.arange(tokens, device=device) >= self.seen[..., None], -1)
        best, self.picked = draws.topk(TOPK)
        self.picked = self.picked.masked_fill(best < 0, -1)

    @property
    def seen(self):
        """[b, s_q] How many tokens each query token sees: all up to itself."""
        behind = QUERY_TOKENS - 1 - torch.arange(QUERY_TOKENS, device=self.device)
        return (self.lengths[:, None] - behind).clamp_min(0)


def build_cache(problem, deal, kv_format):
    """(cache, block_table) of the tokens that a rank holds, which alone it would store."""
    b, tokens, d_qk = problem.rows.shape
    table = torch.randperm(b * problem.width, device="cpu").view(b, -1).int().to(problem.device)
    cache = torch.zeros(b * problem.width, PAGE, 1, d_qk, device=problem.device).bfloat16()
    if kv_format != "bf16":
        cache = flash_mla.quantise(cache, kv_format)
    position = torch.arange(tokens, device=problem.device)
    position = position[deal.holds(position)]
    flash_mla.append(
        cache,
        problem.rows[:, position].reshape(-1, 1, d_qk),
        slots_of(table, deal.place(position).expand(b, -1)).reshape(-1),
        format=kv_format,
    )
    return cache, table


def slots_of(table, place):
    """Slots of the cache where the tokens at these places of the requests lie; place: [b, …]."""
    page = table.long().gather(1, (place // PAGE).reshape(len(table), -1)).view(place.shape)
    return (page * PAGE + place % PAGE).int()


def decode_dense(problem, deal, kv_format, **options):
    """Each query token as a request of its own, since its last token may be another rank's."""
    cache, table = build_cache(problem, deal, kv_format)
    b, s_q, h_q, d_qk = problem.q.shape
    schedule, _ = flash_mla.get_mla_metadata()
    out, lse = flash_mla.flash_mla_with_kvcache(
        problem.q.view(b * s_q, 1, h_q, d_qk), cache, table.repeat_interleave(s_q, 0),
        deal.length(problem.seen).view(-1).int(), 512, schedule, **options,
    )  # fmt: skip
    return out.view(b, s_q, h_q, 512), lse.view(b, s_q, h_q).transpose(1, 2)


def decode_sparse(problem, deal, kv_format, **options):
    """The rank's own entries of each list come first; topk_length ends the lists there."""
    cache, table = build_cache(problem, deal, kv_format)
    picked = problem.picked
    mine = (picked >= 0) & deal.holds(picked)
    slots = slots_of(table, deal.place(picked).clamp_min(0)).masked_fill(~mine, -1)
    first = torch.sort(mine.int(), dim=-1, descending=True, stable=True).indices
    schedule, _ = flash_mla.get_mla_metadata()
    return flash_mla.flash_mla_with_kvcache(
        problem.q, cache, None, None, 512, schedule, is_fp8_kvcache=kv_format != "bf16",
        indices=slots.gather(-1, first), topk_length=mine.sum(-1).amax(-1).int(), **options,
    )  # fmt: skip


def exchange(tensor, heads_at, by_heads, ranks):
    """The parts of all ranks: whole, or of the heads that this rank goes on with."""
    if not by_heads:
        parts = [torch.empty_like(tensor) for _ in range(ranks)]
        dist.all_gather(parts, tensor)
        return parts
    shares = torch.stack(tensor.chunk(ranks, heads_at))
    received = torch.empty_like(shares)
    dist.all_to_all_single(received, shares)
    return list(received)


def largest_differences(out, lse, wanted, wanted_lse):
    """(of a row relative to its length, of lse, whether rows without tokens are exact)."""
    distance = (out.float() - wanted.float()).norm(dim=-1)
    row = distance / wanted.float().norm(dim=-1).clamp_min(1e-9)
    seen = torch.isfinite(wanted_lse)
    scale = wanted_lse.abs().clamp_min(1)
    lse_error = ((lse - wanted_lse).abs() / scale)[seen].max()
    empty = torch.equal(lse[~seen], wanted_lse[~seen])
    return float(row.max()), float(lse_error), empty and not bool(seen.all())


def device_of(rank):
    if dist.get_backend() != "nccl":
        return "cpu"
    index = int(os.environ.get("LOCAL_RANK", rank))
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def compare(seed, kind, kv_format, interleave, empty_lse, by_heads):
    """Whether the merged results are those of a single rank. Rank 0 prints."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    problem = Problem(seed, 512 if kv_format == "v4" else 576, device_of(rank))
    decode = decode_sparse if kind == "sparse" else decode_dense
    deal = Deal(interleave, rank, ranks, problem.width)
    empty = {"empty_lse": empty_lse}

    out, lse = decode(problem, deal, kv_format, **empty)
    outs = exchange(out.contiguous(), 2, by_heads, ranks)
    lses = exchange(lse.contiguous(), 1, by_heads, ranks)
    share = slice(rank * HEADS // ranks, (rank + 1) * HEADS // ranks) if by_heads else slice(None)
    out, lse = flash_mla.merge_states(outs, lses, problem.sink[share], **empty)

    alone = Deal(PAGE, 0, 1, problem.width)
    wanted, wanted_lse = decode(problem, alone, kv_format, attn_sink=problem.sink, **empty)
    wanted, wanted_lse = wanted[:, :, share], wanted_lse[:, share]
    row, lse_error, exact = largest_differences(out, lse, wanted, wanted_lse)
    right = row <= ROW_BOUND and lse_error <= LSE_BOUND and exact
    if rank == 0:
        print(
            f"{ranks} ranks on {dist.get_backend()}, {kind}, {kv_format} cache, {interleave} at a "
            f"time, {'heads' if by_heads else 'all'} exchanged, empty lse {empty_lse}; lengths "
            f"{list(LENGTHS)}, here {deal.length(problem.lengths).tolist()}: largest relative "
            f"difference of a row {row:.2e}, of lse {lse_error:.2e}"
        )
        print("equal to the single rank" if right else "DIFFERS FROM THE SINGLE RANK", flush=True)
    return right


def run(arguments):
    right = True
    choices = itertools.product(arguments.interleave, arguments.empty_lse, arguments.exchange)
    for interleave, empty_lse, exchanged in choices:
        for kind in arguments.kind:
            for kv_format in arguments.kv_format if kind == "sparse" else ["bf16"]:
                call = kind, kv_format, interleave, empty_lse, exchanged == "heads"
                right = compare(arguments.seed, *call) and right
    return right


def start(rank, arguments, store):
    ranks = arguments.ranks if store else int(os.environ["WORLD_SIZE"])
    on_gpus = arguments.device == "auto" and torch.cuda.device_count() >= ranks > 1
    backend = "nccl" if on_gpus else "gloo"
    if store is None:  # torchrun has set the rank and the number of ranks
        dist.init_process_group(backend)
    else:
        method = f"file://{store}"
        dist.init_process_group(backend, init_method=method, rank=rank, world_size=ranks)
    try:
        torch.set_grad_enabled(False)
        right = run(arguments)
    finally:
        dist.destroy_process_group()
    if not right:
        sys.exit(1)


def options():
    parser = argparse.ArgumentParser(
        description=f"{__doc__.splitlines()[0]} Of options with several values each is done."
    )
    add = parser.add_argument
    add("--ranks", type=int, default=2)
    add(
        "--device",
        choices=["auto", "cpu"],
        default="auto",
        help="auto: GPUs where there are enough",
    )
    add("--kind", nargs="+", choices=["dense", "sparse"], default=["dense"])
    add("--interleave", nargs="+", type=int, default=[PAGE], metavar="TOKENS",
        help="dealt out at a time; 0: one run for each rank")  # fmt: skip
    add("--kv-format", nargs="+", choices=["bf16", "v32", "v4"], default=["bf16"],
        help="of the sparse cache")  # fmt: skip
    add("--empty-lse", nargs="+", choices=["+inf", "-inf"], default=["+inf"],
        help="lse of a query without tokens; give -inf as --empty-lse=-inf")  # fmt: skip
    add("--exchange", nargs="+", choices=["gather", "heads"], default=["gather"],
        help="each rank gets the parts whole, or of its share of the heads")  # fmt: skip
    add("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    arguments = options()
    if "RANK" in os.environ:
        start(0, arguments, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(start, (arguments, f"{folder}/store"), arguments.ranks)


if __name__ == "__main__":
    main()
