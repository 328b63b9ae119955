"""Random calls. What a call may not read holds NaN, or an integer that leads nowhere."""

import dataclasses

import flash_mla
import numpy
import reference


def normal(fw, rng, *shape, kind="bf16"):
    """Random normal elements as a tensor."""
    return fw.array(rng.standard_normal(shape).astype(numpy.float32), kind)


@dataclasses.dataclass
class Dense:
    """Tensors of one framework, and the same as float64."""

    kind: str
    q: object
    cache: object
    table: object
    lengths: object
    wanted: tuple
    values: dict

    def arguments(self):
        return self.q, self.cache, self.table, self.lengths, 512


def dense(
    fw, rng, *, b=3, s_q=1, h_q=8, h_kv=1, d=576, page=64, kind="bf16", longest=200, **options
):
    """A dense decoding call; `options` go to the reference."""
    lengths = rng.integers(0, longest + 1, b)
    lengths[rng.integers(b)] = longest
    width = -(-longest // page) + 1
    pages = b * width + 3
    table = rng.permutation(pages)[: b * width].reshape(b, width)
    cache = rng.standard_normal((pages, page, h_kv, d)).astype(numpy.float32)
    counted = numpy.zeros((pages, page), bool)
    for r in range(b):
        used = -(-int(lengths[r]) // page)
        for i in range(used):
            counted[table[r, i], : lengths[r] - i * page] = True
        table[r, used:] = rng.choice([-1, -(2**31), 2**31 - 1, pages], width - used)
    cache[~counted] = numpy.nan
    q = normal(fw, rng, b, s_q, h_q, d, kind=kind)
    cache = fw.array(cache, kind)
    values = {"q": fw.numbers(q), "cache": fw.numbers(cache), "table": table, "lengths": lengths}
    sink = options.get("sink")
    wanted = reference.dense(
        values["q"], values["cache"], table, lengths, options.get("scale"),
        options.get("causal", False), sink,
    )  # fmt: skip
    return Dense(kind, q, cache, fw.array(table, "i32"), fw.array(lengths, "i32"), wanted, values)


def packed_cache(rng, fmt, pages, page):
    """Random bytes of an FP8 cache without NaN: uint8 [pages, page, 1, bytes]."""
    width = {"v32": 656, "v4": 584}[fmt]
    codes = rng.integers(0, 256, (pages, page, 1, width), numpy.uint8)
    codes[codes & 0x7F == 0x7F] = 0x30
    rotary = rng.standard_normal((pages, page, 64)).astype(numpy.float32)
    rotary = (rotary.view(numpy.uint32) >> 16).astype(numpy.uint16).view(numpy.uint8)
    if fmt == "v32":
        scales = (2.0 ** rng.uniform(-9, -7, (pages, page, 4))).astype(numpy.float32)
        codes[:, :, 0, 512:528] = scales.view(numpy.uint8)
        codes[:, :, 0, 528:] = rotary
        return codes
    for p in range(pages):
        flat = codes[p].reshape(-1)
        rows = flat[: page * 576].reshape(page, 576)
        rows[:, 448:] = rotary[p]
        scales = flat[page * 576 :].reshape(page, 8)
        scales[:, :7] = rng.integers(127 - 9, 127 - 6, (page, 7))
    return codes


@dataclasses.dataclass
class Sparse:
    fmt: str
    q: object
    cache: object
    indices: object
    slots: int
    values: dict


def index_lists(rng, shape, slots):
    """Lists with repeated slots, and with entries that are no token."""
    indices = rng.integers(0, slots, shape)
    bad = rng.random(shape) < 0.2
    indices[bad] = rng.choice([-1, -5, -(2**31), slots, 2**31 - 1], bad.sum())
    return indices


def sparse(fw, rng, *, fmt="v32", b=2, s_q=2, h_q=5, page=16, pages=6, topk=24, byte_kind="u8"):
    d = {"v32": 576, "v4": 512}.get(fmt, 576)
    q = normal(fw, rng, b, s_q, h_q, d)
    indices = index_lists(rng, (b, s_q, topk), pages * page)
    if fmt == "bf16":
        cache = normal(fw, rng, pages, page, 1, d)
        rows = fw.numbers(cache)
    else:
        packed = packed_cache(rng, fmt, pages, page)
        cache, rows = fw.array(packed, byte_kind), reference.decode_cache(packed, fmt)
    values = {"q": fw.numbers(q), "rows": rows, "indices": indices}
    return Sparse(fmt, q, cache, fw.array(indices, "i32"), pages * page, values)


def prefill(fw, rng, *, s_q=5, h_q=6, d=576, s_kv=70, topk=20):
    """q, kv and indices of a sparse prefill, whose first query sees no token; and their values."""
    q = normal(fw, rng, s_q, h_q, d)
    kv = normal(fw, rng, s_kv, 1, d)
    indices = index_lists(rng, (s_q, 1, topk), s_kv)
    indices[0] = -1
    return (q, kv, fw.array(indices, "i32")), (fw.numbers(q), fw.numbers(kv), indices)


def quantised(fw, plain, fmt):
    """An FP8 cache of plain rows (of PyTorch), which the CPU makes; and its numbers."""
    cache = flash_mla.quantise(plain.cpu(), fmt)
    return cache.to(fw.device), reference.decode_cache(cache.numpy(), fmt)


def check(fw, results, wanted, kind="bf16"):
    """Fails unless out and lse of a call are the wanted ones, as reference.check says."""
    reference.check(*(fw.numbers(result) for result in results), *wanted, kind)
