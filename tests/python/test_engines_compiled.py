"""Engines' keywords and schedules inside of torch.compile."""

import math

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
from flash_mla import (  # noqa: E402
    FlashMLASchedMeta,
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_decoding_metadata,
    get_mla_metadata,
)


@pytest.fixture
def fw():
    return frameworks.Torch("cpu")


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def test_objects_of_tensors_and_plans_by_hand(fw, rng):
    case = cases.dense(fw, rng, longest=900)
    tensors = get_mla_decoding_metadata(case.lengths, 8, 1)
    by_hand = torch.zeros(1, 8, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)

    @compiled
    def decode(q, cache, table, lengths, work, splits):
        meta = FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits)
        return flash_mla_with_kvcache(
            q, cache, table, lengths, 512, meta, None, is_fp8_kvcache=None, use_legacy=True
        )

    cases.check(fw, decode(*case.arguments()[:4], *tensors), case.wanted)
    invariant = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata(batch_invariant=True)[0])
    for result, wanted in zip(decode(*case.arguments()[:4], *by_hand), invariant):
        assert torch.equal(result, wanted)


@pytest.mark.parametrize("used", [False, True])
def test_an_object_from_outside(fw, rng, used):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    if used:
        cases.check(fw, flash_mla_with_kvcache(*case.arguments(), meta), case.wanted)

    @compiled
    def decode(q, cache, table, lengths):
        return flash_mla_with_kvcache(q, cache, table, lengths, 512, meta)

    cases.check(fw, decode(*case.arguments()[:4]), case.wanted)


@pytest.mark.parametrize("used", [False, True])
def test_tensors_from_outside(fw, rng, used):
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    if used:
        cases.check(fw, flash_mla_with_kvcache(*case.arguments(), work, splits), case.wanted)

    @compiled
    def decode(q, cache, table, lengths, work, splits):
        return flash_mla_with_kvcache(q, cache, table, lengths, 512, work, splits)

    cases.check(fw, decode(*case.arguments()[:4], work, splits), case.wanted)


def test_keywords(fw, rng):
    case = cases.dense(fw, rng)
    eager = {
        "enable_batch_invariant": True,
        "lse_base": 2,
        "empty_lse": "-inf",
        "kv_format": "bf16",
        "use_legacy": False,
    }

    @compiled
    def decode(q, cache, table, lengths):
        return flash_mla_with_kvcache(q, cache, table, lengths, 512, get_mla_metadata()[0], **eager)

    wanted = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0], **eager)
    for result, right in zip(decode(*case.arguments()[:4]), wanted):
        assert torch.equal(result, right)


@pytest.mark.parametrize("make", [get_mla_metadata, get_mla_decoding_metadata])
@pytest.mark.parametrize("dynamic", [False, True])
def test_tensors_from_inside(fw, rng, make, dynamic):
    @torch.compile(fullgraph=True, backend="aot_eager", dynamic=dynamic)
    def decode(q, cache, table, lengths):
        work, splits = make(lengths, 2 * 8, 1, 8, False)
        meta = FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits)
        first = flash_mla_with_kvcache(q, cache, table, lengths, 512, meta)
        return *first, *flash_mla_with_kvcache(q, cache, table, lengths, 512, work, splits), work

    torch._dynamo.reset()
    for b in (3, 4):
        case = cases.dense(fw, rng, b=b, s_q=2)
        results = decode(*case.arguments()[:4])
        cases.check(fw, results[:2], case.wanted)
        cases.check(fw, results[2:4], case.wanted)
        assert torch.equal(results[4], make(case.lengths, 2 * 8, 1, 8, False)[0])


@pytest.mark.parametrize("log2", [None, True, False])
def test_statistics_of_prefill(fw, rng, log2):
    tensors, _ = cases.prefill(fw, rng)

    @compiled
    def prefill(q, kv, indices):
        return flash_mla_sparse_fwd(q, kv, indices, 0.05, use_legacy=True, return_log2_lse=log2)

    results = prefill(*tensors)
    plain = flash_mla_sparse_fwd(*tensors, 0.05)
    assert torch.equal(results[0], plain[0])
    for given, natural in zip(results[1:], plain[1:]):
        if log2 is False:
            assert given is None
        else:
            scale = math.log2(math.e) if log2 else 1
            torch.testing.assert_close(given, natural * scale)


one = torch.ones(1)
WRONG = {
    "num_splits": 0.9,
    "enable_batch_invariant": None,
    "use_legacy": 3,
    "kv_format": "v32",
    "descale_q": one,
    "descale_k": one,
    "tile_scheduler_metadata": (3, None),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_name_the_argument(fw, rng, name):
    case = cases.dense(fw, rng)
    call = {"tile_scheduler_metadata": FlashMLASchedMeta(), name: WRONG[name]}
    decode = compiled(lambda *tensors: flash_mla_with_kvcache(*tensors, 512, **call))
    # PyTorch wraps an exception of the trace in one of its own, whose text has ours.
    with pytest.raises(Exception, match=f"{name}: given .*, wanted "):
        decode(*case.arguments()[:4])
