"""append, gather, quantise, dequantise: every format, bit by bit where it is FP8."""

import cases
import numpy
import pytest
import reference
from flash_mla import append, dequantise, gather, quantise

FORMATS = ["bf16", "fp16", "v32", "v4"]
WIDTH = {"bf16": 576, "fp16": 512, "v32": 576, "v4": 512}


def plain(fw, rng, fmt, shape=(4, 8, 1)):
    kind = "fp16" if fmt == "fp16" else "bf16"
    values = rng.standard_normal((*shape, WIDTH[fmt])) * 2.0 ** rng.integers(-6, 6, (*shape, 1))
    return fw.array(values.astype(numpy.float32), kind)


@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_dequantise_is_the_format(fw, rng, fmt):
    packed = cases.packed_cache(rng, fmt, 3, 5)
    for kind in ("u8", "i8", "e4m3"):
        numbers = fw.numbers(dequantise(fw.array(packed, kind)))
        assert (numbers == reference.decode_cache(packed, fmt)).all()


@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_quantise_errs_by_half_a_step(fw, rng, fmt):
    source = plain(fw, rng, fmt)
    cache = quantise(source, fmt)
    values = fw.numbers(source)
    decoded = reference.decode_cache(fw.numbers(cache).astype(numpy.uint8), fmt)
    latent, tile = (512, 128) if fmt == "v32" else (448, 64)
    tiles = values[..., :latent].reshape(4, 8, -1, tile)
    largest = numpy.abs(tiles).max(axis=-1, keepdims=True)
    scale = 2.0 ** numpy.ceil(numpy.log2(numpy.maximum(largest / 448, 1e-4)))
    step = numpy.maximum(numpy.abs(tiles) * 2.0**-4, scale * 2.0**-10)  # e4m3, then bf16
    error = numpy.abs(decoded[..., :latent].reshape(tiles.shape) - tiles)
    assert (error <= step * 1.07).all() and error.max() > 0
    assert (decoded[..., latent:] == values[..., latent:]).all()
    assert (fw.numbers(dequantise(cache)) == decoded).all()


@pytest.mark.parametrize("fmt", ["bf16", "fp16"])
def test_plain_formats_are_copied(fw, rng, fmt):
    source = plain(fw, rng, fmt)
    assert fw.same(dequantise(quantise(source, fmt)), source)


def some_slots(rng):
    slots = rng.permutation(32)[:9]
    slots[[2, 5]] = -1, 32
    return slots


@pytest.mark.parametrize("kind", ["i32", "i64"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_append(fw, rng, fmt, kind):
    source = plain(fw, rng, fmt)
    cache = quantise(source, fmt) if fmt in ("v32", "v4") else source
    before = fw.numbers(dequantise(cache))
    rows = plain(fw, rng, fmt, (9, 1))
    slots = some_slots(rng)
    assert append(cache, rows, fw.array(slots, kind)) is cache
    wanted = before.reshape(32, -1).copy()
    fresh = fw.numbers(rows)[:, 0]
    if fmt in ("v32", "v4"):
        fresh = fw.numbers(dequantise(quantise(rows[:, None], fmt)))[:, 0, 0]
    for row, slot in zip(fresh, slots):
        if 0 <= slot < 32:
            wanted[slot] = row
    after = fw.numbers(dequantise(cache))
    assert (after.reshape(32, -1) == wanted).all()


@pytest.mark.parametrize("fmt", FORMATS)
def test_gather(fw, rng, fmt):
    cache = quantise(plain(fw, rng, fmt), fmt)
    slots = some_slots(rng)
    rows = fw.numbers(gather(cache, fw.array(slots, "i64")))
    everything = fw.numbers(dequantise(cache)).reshape(32, 1, -1)
    for row, slot in zip(rows, slots):
        assert (row == (everything[slot] if 0 <= slot < 32 else 0)).all()
    out = fw.full((9, 1, WIDTH[fmt]), numpy.nan, "fp16" if fmt == "fp16" else "bf16")
    assert gather(cache, fw.array(slots, "i32"), format=fmt, out=out) is out
    assert (fw.numbers(out) == rows).all()


def test_given_memory_is_used(fw, rng):
    source = plain(fw, rng, "v32")
    cache = fw.full((4, 8, 1, 656), 0, "i8")
    assert quantise(source, "v32", cache=cache) is cache
    again = fw.full((4, 8, 1, 576), numpy.nan, "bf16")
    assert dequantise(cache, "v32", plain=again) is again
    assert fw.same(again, dequantise(quantise(source, "v32")))


def test_wrong_calls(fw, rng):
    source = plain(fw, rng, "v32")
    for call, name in [
        (lambda: quantise(source, "v3"), "format"),
        (lambda: quantise(source[0], "v32"), "plain"),
        (lambda: quantise(source, "v4"), "plain"),
        (lambda: quantise(source, "v32", cache=fw.full((4, 8, 1, 655), 0, "u8")), "cache"),
        (lambda: dequantise(fw.full((4, 8, 1, 600), 0, "u8")), "cache"),
        (lambda: dequantise(fw.full((4, 8, 656), 0, "u8")), "cache"),
        (lambda: append(source, source[0], fw.full((8,), 0, "fp32")), "slots"),
        (lambda: append(source, source[0, 0], fw.full((8,), 0, "i32")), "rows"),
        (lambda: gather(source, fw.full((2,), 0, "i32"), out=source), "out"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: given .*, wanted "):
            call()
    with pytest.raises(TypeError, match="^slots: given None"):
        append(source, source[0], None)
    with pytest.raises(TypeError, match="^cache: given a "):
        append([1.0], source[0], None)
