"""Forms of the drop-in calls that the other files do not happen to use."""

import cases
import numpy
import pytest
import reference
from flash_mla import (
    FlashMLASchedMeta,
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_metadata,
    plan,
)


def loose_strides(fw, tensor):
    """The same numbers, with strides on dimensions of size 1 that no layout has."""
    strides = [77 if extent == 1 else None for extent in tensor.shape]
    if fw.name == "numpy":
        given = [(s * tensor.itemsize if s else t) for s, t in zip(strides, tensor.strides)]
        return numpy.lib.stride_tricks.as_strided(tensor, tensor.shape, given)
    return tensor.as_strided(
        tensor.shape, [s or t for s, t in zip(strides, tensor.stride())], tensor.storage_offset()
    )


def test_metadata_without_lengths_ignores_the_rest(fw, rng):
    case = cases.dense(fw, rng)
    meta, none = get_mla_metadata(None, 8, 1, 8, False, None)
    assert type(meta) is FlashMLASchedMeta and none is None and not meta.have_initialized
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), meta, none), case.wanted)


@pytest.mark.parametrize("options", [{"max_workers": 2}, {"batch_invariant": True}])
def test_options_of_the_metadata(fw, rng, options):
    case = cases.dense(fw, rng, longest=900)
    meta = get_mla_metadata(**options)[0]
    results = flash_mla_with_kvcache(*case.arguments(), meta)
    cases.check(fw, results, case.wanted)
    if "max_workers" in options:
        assert meta.tile_scheduler_metadata.shape[0] <= 2
        return
    for r in range(3):
        alone = flash_mla_with_kvcache(
            case.q[r : r + 1], case.cache, case.table[r : r + 1], case.lengths[r : r + 1], 512,
            get_mla_metadata(**options)[0],
        )  # fmt: skip
        assert fw.same(alone[0], results[0][r : r + 1])
        assert fw.same(alone[1], results[1][r : r + 1])


def test_wrong_options_of_the_metadata(fw, rng):
    case = cases.dense(fw, rng)
    for options, kind, name in [
        ({"max_workers": -1}, ValueError, "max_workers"),
        ({"max_workers": 65537}, ValueError, "max_workers"),
        ({"max_workers": "2"}, TypeError, "max_workers"),
        ({"batch_invariant": 3}, TypeError, "batch_invariant"),
    ]:
        for make in (get_mla_metadata, FlashMLASchedMeta):
            with pytest.raises(kind, match=f"^{name}: given .*, wanted "):
                make(**options)
        with pytest.raises(kind, match=f"^{name}: given .*, wanted "):
            get_mla_metadata(case.lengths, 8, 1, **options)
    meta = FlashMLASchedMeta()
    meta.max_workers = -1
    with pytest.raises(ValueError, match="^tile_scheduler_metadata: given max_workers = -1"):
        flash_mla_with_kvcache(*case.arguments(), meta)


def test_fp8_flag_of_a_plain_cache_changes_nothing(fw, rng):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    plain = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0])
    for _ in range(2):
        flagged = flash_mla_with_kvcache(*case.arguments(), meta, None, None, False, True)
        assert all(fw.same(a, b) for a, b in zip(flagged, plain))
    work, splits = get_mla_metadata(case.lengths, 8, 1, None, True)
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), work, splits), case.wanted)


@pytest.mark.parametrize("scale", [1, numpy.float32(0.25), numpy.array(0.25)])
def test_scales_that_are_other_numbers(fw, rng, scale):
    case = cases.dense(fw, rng, scale=float(scale))
    results = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0], softmax_scale=scale)
    cases.check(fw, results, case.wanted)


def test_strides_sink_and_scale_may_differ_under_one_schedule(fw, rng):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), meta), case.wanted)
    held = meta._held
    wide = fw.full((3, 1, 8, 640), numpy.nan, "bf16")
    wide[..., 64:] = case.q
    sink = rng.standard_normal(8)
    results = flash_mla_with_kvcache(
        wide[..., 64:], *case.arguments()[1:], meta, softmax_scale=0.1,
        attn_sink=fw.array(sink, "fp32"),
    )  # fmt: skip
    cases.check(fw, results, reference.dense(*case.values.values(), scale=0.1, sink=sink))
    assert meta._held is held


def test_strides_of_size_one_are_not_checked(fw, rng):
    case = cases.dense(fw, rng, b=1, s_q=1, h_kv=1)
    out, lse = fw.full((1, 1, 8, 512), numpy.nan, "bf16"), fw.full((1, 8, 1), numpy.nan, "fp32")
    tensors = [loose_strides(fw, t) for t in (*case.arguments()[:4], out, lse)]
    flash_mla_with_kvcache(*tensors[:4], 512, get_mla_metadata()[0], out=tensors[4], lse=tensors[5])
    cases.check(fw, (out, lse), case.wanted)


def test_lse_in_a_larger_tensor(fw, rng):
    case = cases.dense(fw, rng, s_q=3)
    wide = fw.full((3, 10, 5), numpy.nan, "fp32")
    lse = wide[:, 1:9, 1:4]
    results = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0], lse=lse)
    assert results[1] is lse
    cases.check(fw, results, case.wanted)
    rest = fw.numbers(wide).copy()
    rest[:, 1:9, 1:4] = numpy.nan
    assert numpy.isnan(rest).all()


def test_every_argument_by_position(fw, rng):
    case, extra = cases.sparse(fw, rng, h_q=8), cases.sparse(fw, rng, page=4, pages=9, topk=10)
    sink, counts, extra_counts = rng.standard_normal(8), rng.integers(0, 25, 2), [10, 3]
    results = flash_mla_with_kvcache(
        case.q, case.cache, None, None, 512, get_mla_metadata()[0], None, 0.07, False, True,
        case.indices, fw.array(sink, "fp32"), extra.cache, extra.indices, fw.array(counts, "i32"),
        fw.array(extra_counts, "i32"),
    )  # fmt: skip
    second = extra.values["rows"], extra.values["indices"], extra_counts
    cases.check(fw, results, reference.sparse(*case.values.values(), 0.07, sink, counts, second))


def test_prefill_into_larger_tensors(fw, rng):
    if fw.device == "cuda":
        pytest.skip("the CUDA backend has no sparse prefill yet")
    tensors, values = cases.prefill(fw, rng, s_q=4, s_kv=50, topk=12)
    out = fw.full((4, 6, 520), numpy.nan, "bf16")[..., 4:516]
    most, lse = (fw.full((4, 9), numpy.nan, "fp32")[:, 1:7] for _ in range(2))
    results = flash_mla_sparse_fwd(*tensors, 0.05, out=out, max_logits=most, lse=lse)
    assert all(result is given for result, given in zip(results, (out, most, lse)))
    wanted = reference.prefill(*values, 0.05)
    cases.check(fw, (out, lse), (wanted[0], wanted[2]))
    assert numpy.allclose(fw.numbers(most), wanted[1], atol=1e-4)


def test_device_of_a_plan(fw):
    index = 0
    names = [fw.device, f"{fw.device}:{index}", (fw.device, index)]
    if fw.name != "numpy":
        import torch

        names.append(torch.device(fw.device))
    for name in names:
        assert plan(device=name, query_heads=8).device == (fw.device, index)
    for wrong in ("cpu:x", "meta", 0, None):
        with pytest.raises(ValueError, match="^device: given "):
            plan(device=wrong, query_heads=8)
