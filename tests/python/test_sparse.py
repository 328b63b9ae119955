"""flash_mla_with_kvcache over lists of cache slots."""

import cases
import numpy
import pytest
import reference
from flash_mla import flash_mla_with_kvcache, get_mla_metadata

FORMATS = ["v32", "v4", "bf16"]


def decode(case, meta=None, **options):
    packed = case.fmt != "bf16"
    return flash_mla_with_kvcache(
        case.q, case.cache, None, None, 512, meta or get_mla_metadata()[0], None, None, False,
        packed, case.indices, **options,
    )  # fmt: skip


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("h_q", [1, 5, 64])
def test_matches_the_reference(fw, rng, fmt, h_q):
    case = cases.sparse(fw, rng, fmt=fmt, h_q=h_q)
    cases.check(fw, decode(case), reference.sparse(*case.values.values()))


@pytest.mark.parametrize("byte_kind", ["i8", "e4m3"])
def test_byte_types(fw, rng, byte_kind):
    case = cases.sparse(fw, rng, byte_kind=byte_kind)
    cases.check(fw, decode(case), reference.sparse(*case.values.values()))


@pytest.mark.parametrize("fmt", FORMATS)
def test_everything_at_once(fw, rng, fmt):
    case = cases.sparse(fw, rng, fmt=fmt, h_q=8)
    extra = cases.sparse(fw, rng, fmt=fmt, page=4, pages=9, topk=10)
    sink = rng.standard_normal(8)
    counts, extra_counts = rng.integers(0, 25, 2), rng.integers(0, 11, 2)
    results = decode(
        case,
        attn_sink=fw.array(sink, "fp32"),
        extra_k_cache=extra.cache,
        extra_indices_in_kvcache=extra.indices,
        topk_length=fw.array(counts, "i32"),
        extra_topk_length=fw.array(extra_counts, "i32"),
    )
    wanted = reference.sparse(
        *case.values.values(), None, sink, counts,
        (extra.values["rows"], extra.values["indices"], extra_counts),
    )  # fmt: skip
    cases.check(fw, results, wanted)


def test_no_entry_counts(fw, rng):
    case = cases.sparse(fw, rng)
    out, lse = decode(case, topk_length=fw.array(numpy.array([0, -3]), "i32"))
    assert (fw.numbers(out) == 0).all() and (fw.numbers(lse) == numpy.inf).all()


def test_poisoned_rows_that_nobody_names(fw, rng):
    case = cases.sparse(fw, rng, fmt="bf16")
    named = set(case.values["indices"].ravel().tolist())
    rows = case.values["rows"].reshape(-1, 576).copy()
    rows[[slot for slot in range(len(rows)) if slot not in named]] = numpy.nan
    case.cache = fw.array(rows.reshape(6, 16, 1, 576).astype(numpy.float32), "bf16")
    cases.check(fw, decode(case), reference.sparse(*case.values.values()))


def test_block_table_and_lengths_are_not_read(fw, rng):
    case = cases.sparse(fw, rng)
    meta = get_mla_metadata()[0]
    for anything in (None, fw.full((1, 1), -9, "i32")):
        results = flash_mla_with_kvcache(
            case.q, case.cache, anything, anything, 512, meta, is_fp8_kvcache=True,
            indices=case.indices,
        )  # fmt: skip
        cases.check(fw, results, reference.sparse(*case.values.values()))


def test_padded_pages(fw, rng):
    case = cases.sparse(fw, rng, fmt="v4")
    padded = fw.full((6, 18, 1, 584), 255, "u8")  # a GPU takes page strides of whole 16 bytes
    padded[:, :16] = case.cache
    case.cache = padded[:, :16]
    cases.check(fw, decode(case), reference.sparse(*case.values.values()))


CHANGED = {
    "topk": {"topk": 20},
    "page_block_size": {"page": 8},
    "s_q": {"s_q": 1},
}


@pytest.mark.parametrize("field", CHANGED)
def test_later_calls_must_agree(fw, rng, field):
    meta = get_mla_metadata()[0]
    decode(cases.sparse(fw, rng), meta)
    held = meta._held
    decode(cases.sparse(fw, rng, pages=9), meta)
    assert meta._held is held
    with pytest.raises(ValueError, match=f"^(q|k_cache|indices): given {field} = .* as in the"):
        decode(cases.sparse(fw, rng, **CHANGED[field]), meta)


def test_extra_cache_must_agree(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.sparse(fw, rng)

    def with_extra(**shape):
        extra = cases.sparse(fw, rng, **shape)
        return decode(case, meta, extra_k_cache=extra.cache, extra_indices_in_kvcache=extra.indices)

    with_extra()
    with pytest.raises(ValueError, match="^extra_k_cache: given extra_page_block_size = 8, wanted"):
        with_extra(page=8)
    with pytest.raises(ValueError, match="^extra_indices_in_kvcache: given extra_topk = 9, wanted"):
        with_extra(topk=9)
    with pytest.raises(ValueError, match="^extra_k_cache: given extra_page_block_size = None"):
        decode(case, meta)


def test_dense_after_sparse_is_refused(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.sparse(fw, rng, fmt="bf16")
    decode(case, meta)
    with pytest.raises(ValueError, match="^indices: given topk = None, wanted topk = 24"):
        flash_mla_with_kvcache(
            case.q, case.cache, fw.full((2, 1), 0, "i32"), fw.full((2,), 5, "i32"), 512, meta
        )
