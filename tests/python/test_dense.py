"""flash_mla_with_kvcache over a whole paged cache."""

import cases
import numpy
import pytest
import reference
from flash_mla import FlashMLASchedMeta, flash_mla_with_kvcache, get_mla_metadata


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("h_q", [1, 16, 40])
@pytest.mark.parametrize("page", [64, 1, 16])
def test_matches_the_reference(fw, rng, kind, h_q, page):
    case = cases.dense(fw, rng, kind=kind, h_q=h_q, page=page, longest=130)
    out, lse = flash_mla_with_kvcache(*case.arguments(), *get_mla_metadata())
    cases.check(fw, (out, lse), case.wanted, kind)
    assert type(out) is type(case.q) and out.dtype == case.q.dtype


@pytest.mark.parametrize("d", [576, 512])
def test_causal_kv_heads_scale_and_sink(fw, rng, d):
    sink = rng.standard_normal(8)
    sink[:2] = -numpy.inf, numpy.inf
    case = cases.dense(fw, rng, s_q=4, h_kv=2, d=d, causal=True, scale=0.03, sink=sink)
    out, lse = flash_mla_with_kvcache(
        *case.arguments(), get_mla_metadata()[0], None, 0.03, True, attn_sink=fw.array(sink, "fp32")
    )
    cases.check(fw, (out, lse), case.wanted)


def test_requests_without_tokens(fw, rng):
    case = cases.dense(fw, rng, b=2, longest=100)
    lengths = fw.array(numpy.zeros(2, numpy.int32), "i32")
    out, lse = flash_mla_with_kvcache(
        case.q, case.cache, case.table, lengths, 512, get_mla_metadata()[0]
    )
    assert (fw.numbers(out) == 0).all() and (fw.numbers(lse) == numpy.inf).all()


def test_given_outputs_are_returned(fw, rng):
    case = cases.dense(fw, rng)
    wide = fw.full((3, 1, 8, 600), numpy.nan, "bf16")
    out, lse = wide[..., :512], fw.full((3, 8, 1), numpy.nan, "fp32")
    results = flash_mla_with_kvcache(*case.arguments(), FlashMLASchedMeta(), out=out, lse=lse)
    assert results[0] is out and results[1] is lse
    cases.check(fw, (out, lse), case.wanted)
    assert numpy.isnan(fw.numbers(wide)[..., 512:]).all()


def test_strided_tensors(fw, rng):
    case = cases.dense(fw, rng, b=2)
    q = fw.full((2, 1, 16, 600), numpy.nan, "bf16")[:, :, ::2, 8:584]
    cache = fw.full((2 * case.cache.shape[0], 64, 1, 640), numpy.nan, "bf16")[::2, :, :, 64:]
    q[...] = case.q
    cache[...] = case.cache
    out, lse = flash_mla_with_kvcache(
        q, cache, case.table, case.lengths, 512, get_mla_metadata()[0]
    )
    cases.check(fw, (out, lse), case.wanted)


def test_layers_share_a_schedule(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.dense(fw, rng)
    flash_mla_with_kvcache(*case.arguments(), meta)
    held = meta._held
    assert meta.have_initialized and meta.config.h_q == 8 and meta.num_splits.shape == (4,)
    out, _ = flash_mla_with_kvcache(*case.arguments(), meta, softmax_scale=0.5)
    assert meta._held is held
    wanted = reference.dense(*case.values.values(), scale=0.5)
    reference.check(fw.numbers(out), wanted[1], *wanted)


def test_changed_lengths_are_planned_again(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.dense(fw, rng, b=2, longest=150)
    flash_mla_with_kvcache(*case.arguments(), meta)
    case.lengths[0] = case.values["lengths"][0] = 1 if case.values["lengths"][0] != 1 else 0
    out, lse = flash_mla_with_kvcache(*case.arguments(), meta)
    cases.check(fw, (out, lse), reference.dense(*case.values.values()))
    other = fw.array(case.values["lengths"] // 2, "i32")
    out, lse = flash_mla_with_kvcache(case.q, case.cache, case.table, other, 512, meta)
    case.values["lengths"] = case.values["lengths"] // 2
    cases.check(fw, (out, lse), reference.dense(*case.values.values()))


CHANGED = {
    "b": {"b": 2},
    "s_q": {"s_q": 2},
    "h_q": {"h_q": 4},
    "page_block_size": {"page": 32},
    "h_k": {"h_kv": 2},
}


@pytest.mark.parametrize("field", CHANGED)
def test_later_calls_must_agree(fw, rng, field):
    meta = get_mla_metadata()[0]
    flash_mla_with_kvcache(*cases.dense(fw, rng).arguments(), meta)
    other = cases.dense(fw, rng, **CHANGED[field])
    with pytest.raises(ValueError, match=f"^(q|k_cache): given {field} = .* as in the first"):
        flash_mla_with_kvcache(*other.arguments(), meta)
    # With both fields cleared and the promise withdrawn it is a fresh one.
    meta.have_initialized = False
    meta.tile_scheduler_metadata = meta.num_splits = None
    out, lse = flash_mla_with_kvcache(*other.arguments(), meta)
    cases.check(fw, (out, lse), other.wanted)


@pytest.mark.parametrize("field", ["causal", "is_fp8_kvcache"])
def test_flags_must_agree(fw, rng, field):
    meta = get_mla_metadata()[0]
    case = cases.dense(fw, rng)
    flash_mla_with_kvcache(*case.arguments(), meta)
    with pytest.raises(ValueError, match=f"^{field}: given True, wanted False"):
        flash_mla_with_kvcache(*case.arguments(), meta, **{field: True})


def test_cache_and_table_may_differ(fw, rng):
    meta = get_mla_metadata()[0]
    for longest in (200, 90, 400):
        case = cases.dense(fw, rng, longest=longest)
        out, lse = flash_mla_with_kvcache(*case.arguments(), meta)
        cases.check(fw, (out, lse), case.wanted)


def test_cleared_fields_plan_again(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.dense(fw, rng)
    flash_mla_with_kvcache(*case.arguments(), meta)
    held = meta._held
    meta.tile_scheduler_metadata = None
    meta.num_splits = None
    out, lse = flash_mla_with_kvcache(*case.arguments(), meta)
    assert meta._held is not held and meta.tile_scheduler_metadata is not None
    cases.check(fw, (out, lse), case.wanted)


def test_what_is_no_schedule_at_all(fw, rng):
    case = cases.dense(fw, rng)

    class Foreign:
        have_initialized = False

    for wrong in (Foreign(), get_mla_metadata(), [3], "plan"):
        with pytest.raises(TypeError, match="^tile_scheduler_metadata: given ") as caught:
            flash_mla_with_kvcache(*case.arguments(), wrong)
        assert type(wrong).__name__ in str(caught.value) or "'plan'" in str(caught.value)


def test_a_failed_first_call_leaves_the_metadata_fresh(fw, rng):
    meta = get_mla_metadata()[0]
    case = cases.dense(fw, rng)
    with pytest.raises(ValueError, match="^lse: "):
        flash_mla_with_kvcache(*case.arguments(), meta, lse=fw.full((3, 9, 1), 0.0, "fp32"))
    assert not meta.have_initialized and meta.config is None and meta.num_splits is None
    other = cases.dense(fw, rng, b=2)
    out, lse = flash_mla_with_kvcache(*other.arguments(), meta)
    cases.check(fw, (out, lse), other.wanted)


def test_no_requests(fw):
    out, lse = flash_mla_with_kvcache(
        fw.full((0, 1, 8, 576), 0.0, "bf16"), fw.full((4, 64, 1, 576), 0.0, "bf16"),
        fw.full((0, 2), 0, "i32"), fw.full((0,), 0, "i32"), 512, get_mla_metadata()[0],
    )  # fmt: skip
    assert tuple(out.shape) == (0, 1, 8, 512) and tuple(lse.shape) == (0, 8, 1)
