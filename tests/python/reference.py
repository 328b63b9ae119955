"""Attention and cache formats in float64 NumPy, straight from their definitions.

Shares no code with the package: not even the FP8 decoders, which are tables made here.
"""

import numpy


def bits_to_float(bits):
    """bf16 bit patterns (uint16) as float64."""
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32).astype(numpy.float64)


def round_to_bf16(values):
    """The nearest bf16 numbers, ties to even, as float64. Finite numbers alone."""
    bits = numpy.asarray(values, numpy.float32).view(numpy.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return ((rounded >> 16) << 16).astype(numpy.uint32).view(numpy.float32).astype(numpy.float64)


def _e4m3_table():
    table = numpy.zeros(256)
    for code in range(256):
        sign = -1.0 if code & 0x80 else 1.0
        exponent, fraction = (code >> 3) & 15, code & 7
        value = (1 + fraction / 8) * 2.0 ** (exponent - 7) if exponent else fraction / 8 * 2.0**-6
        table[code] = sign * (numpy.nan if code & 0x7F == 0x7F else value)
    return table


E4M3 = _e4m3_table()


def decode_v32(page):
    """[n, 656] bytes of a page → [n, 576] float64."""
    latent = E4M3[page[:, :512]].reshape(-1, 4, 128)
    scales = page[:, 512:528].copy().view(numpy.float32).astype(numpy.float64)
    product = (latent.astype(numpy.float32) * scales[..., None].astype(numpy.float32)).reshape(
        -1, 512
    )
    rotary = bits_to_float(page[:, 528:].copy().view(numpy.uint16))
    return numpy.concatenate([round_to_bf16(product), rotary], axis=1)


def decode_v4(page):
    """[n, 584] bytes of a page, whose rows and scales lie apart → [n, 512] float64."""
    n = len(page)
    flat = page.reshape(-1)
    rows = flat[: n * 576].reshape(n, 576)
    scales = 2.0 ** (flat[n * 576 :].reshape(n, 8)[:, :7].astype(numpy.float64) - 127)
    product = (E4M3[rows[:, :448]].reshape(n, 7, 64) * scales[..., None]).reshape(n, 448)
    rotary = bits_to_float(rows[:, 448:].copy().view(numpy.uint16))
    return numpy.concatenate([round_to_bf16(product), rotary], axis=1)


def decode_cache(cache, fmt):
    """[num_pages, page, 1, bytes] uint8 → [num_pages, page, 1, d_qk] float64."""
    decode = {"v32": decode_v32, "v4": decode_v4}[fmt]
    return numpy.stack([decode(page[:, 0]) for page in cache])[:, :, None]


def attend(q, rows, scale, sink=None):
    """One query over its rows: q [d_qk], rows [n, d_qk] → (out [512], lse, largest score)."""
    if len(rows) == 0:
        return numpy.zeros(512), numpy.inf, -numpy.inf
    scores = scale * (rows @ q)
    most = scores.max()
    weights = numpy.exp(scores - most)
    lse = most + numpy.log(weights.sum())
    out = (weights / weights.sum()) @ rows[:, :512]
    if sink is not None:
        out = out / (1 + numpy.exp(sink - lse)) if sink != numpy.inf else numpy.zeros(512)
    return out, lse, most


def dense(q, cache, table, lengths, scale=None, causal=False, sink=None):
    """q [b, s_q, h_q, d], cache [pages, page, h_kv, d] → (out, lse)."""
    b, s_q, h_q, d = q.shape
    _, page, h_kv, _ = cache.shape
    scale = d**-0.5 if scale is None else scale
    out, lse = numpy.zeros((b, s_q, h_q, 512)), numpy.zeros((b, h_q, s_q))
    for r in range(b):
        used = -(-int(lengths[r]) // page)
        rows = cache[table[r, :used]].reshape(-1, h_kv, d)[: lengths[r]]
        for t in range(s_q):
            seen = max(lengths[r] - s_q + t + 1, 0) if causal else lengths[r]
            for h in range(h_q):
                head_sink = None if sink is None else sink[h]
                out[r, t, h], lse[r, h, t], _ = attend(
                    q[r, t, h], rows[:seen, h * h_kv // h_q], scale, head_sink
                )
    return out, lse


def listed(cache, indices, count):
    """Rows of a cache [slots, d] that a list names."""
    return cache[[i for i in indices[:count] if 0 <= i < len(cache)]]


def sparse(q, cache, indices, scale=None, sink=None, counts=None, extra=None):
    """extra: (cache, indices, counts or None). → (out, lse)."""
    b, s_q, h_q, d = q.shape
    scale = d**-0.5 if scale is None else scale
    out, lse = numpy.zeros((b, s_q, h_q, 512)), numpy.zeros((b, h_q, s_q))
    parts = [(cache, indices, counts)] + ([extra] if extra else [])
    for r in range(b):
        for t in range(s_q):
            rows = []
            for part, lists, lengths in parts:
                limit = lists.shape[2] if lengths is None else max(int(lengths[r]), 0)
                rows.append(listed(part.reshape(-1, d), lists[r, t], limit))
            rows = numpy.concatenate(rows)
            for h in range(h_q):
                head_sink = None if sink is None else sink[h]
                out[r, t, h], lse[r, h, t], _ = attend(q[r, t, h], rows, scale, head_sink)
    return out, lse


def prefill(q, kv, indices, scale, sink=None, counts=None):
    """q [s_q, h_q, d], kv [s_kv, 1, d], indices [s_q, 1, topk] → (out, max_logits, lse)."""
    s_q, h_q, _ = q.shape
    out = numpy.zeros((s_q, h_q, 512))
    most, lse = numpy.zeros((s_q, h_q)), numpy.zeros((s_q, h_q))
    for t in range(s_q):
        limit = indices.shape[2] if counts is None else max(int(counts[t]), 0)
        rows = listed(kv[:, 0], indices[t, 0], limit)
        for h in range(h_q):
            head_sink = None if sink is None else sink[h]
            out[t, h], lse[t, h], most[t, h] = attend(q[t, h], rows, scale, head_sink)
    return out, most, lse


def check(out, lse, wanted_out, wanted_lse, kind="bf16"):
    """Fails unless the results are the wanted ones within the type's rounding; NaN always fails."""
    bound = 2.0**-7 if kind == "bf16" else 2.0**-10
    distance = numpy.linalg.norm(out - wanted_out, axis=-1)
    allowed = bound * numpy.linalg.norm(wanted_out, axis=-1)
    assert out.shape == wanted_out.shape and lse.shape == wanted_lse.shape
    assert (distance <= allowed).all(), f"out: {distance.max()} beyond {allowed.min()}"
    infinite = numpy.isinf(wanted_lse)
    assert (lse[infinite] == wanted_lse[infinite]).all()
    near = numpy.abs(lse[~infinite] - wanted_lse[~infinite])
    assert (near <= 1e-4 * numpy.maximum(1, numpy.abs(wanted_lse[~infinite]))).all()
