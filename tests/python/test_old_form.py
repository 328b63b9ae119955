"""The older call form: the schedule is two int32 tensors."""

import cases
import numpy
import pytest
import reference
from flash_mla import flash_mla_with_kvcache, get_mla_metadata


def check(fw, case, *schedule):
    out, lse = flash_mla_with_kvcache(*case.arguments(), *schedule)
    cases.check(fw, (out, lse), case.wanted)


@pytest.mark.parametrize("s_q, h_q, h_kv", [(1, 8, 1), (2, 16, 2)])
def test_two_tensors(fw, rng, s_q, h_q, h_kv):
    case = cases.dense(fw, rng, s_q=s_q, h_q=h_q, h_kv=h_kv)
    work, splits = get_mla_metadata(case.lengths, s_q * h_q // h_kv, h_kv)
    assert work.shape[1] == 8 and "int32" in str(work.dtype)
    assert tuple(splits.shape) == (4,) and "int32" in str(splits.dtype)
    assert fw.numbers(splits)[0] == 0
    check(fw, case, work, splits)
    check(fw, case, work)  # the first works alone


def test_old_name_of_the_second_argument(fw, rng):
    case = cases.dense(fw, rng)
    schedule = get_mla_metadata(cache_seqlens=case.lengths, num_heads_per_head_k=8, num_heads_k=1)
    check(fw, case, *schedule)


def test_fields_of_the_metadata(fw, rng):
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    assert work.have_initialized is False and work.config is None
    assert work.num_splits is splits
    assert tuple(work.tile_scheduler_metadata.shape) == tuple(work.shape)


def test_copied_and_sliced(fw, rng):
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    kept_work = fw.full(tuple(work.shape), -7, "i32")
    kept_splits = fw.full((20,), -7, "i32")
    kept_work[...] = work
    kept_splits[:4] = splits
    for _ in range(2):
        check(fw, case, kept_work, kept_splits[:4])
    check(fw, case, kept_work[:], kept_splits[:4])


def test_new_step_in_the_same_tensors(fw, rng):
    kept = None
    for _ in range(3):
        case = cases.dense(fw, rng)
        work, splits = get_mla_metadata(case.lengths, 8, 1)
        if kept is None:
            kept = fw.full(tuple(work.shape), 0, "i32"), fw.full((4,), 0, "i32")
        kept[0][...] = work
        kept[1][...] = splits
        check(fw, case, *kept)


def test_sparse(fw, rng):
    case = cases.sparse(fw, rng, fmt="v32")
    lengths = fw.array(numpy.array([90, 90]), "i32")
    work, splits = get_mla_metadata(lengths, 2 * 5, 1, 5, True, 24)
    assert tuple(splits.shape) == (3,)
    out, lse = flash_mla_with_kvcache(
        case.q, case.cache, None, None, 512, work, splits, None, False, True, case.indices
    )
    wanted = reference.sparse(case.values["q"], case.values["rows"], case.values["indices"])
    cases.check(fw, (out, lse), wanted)


WRONG = [
    (lambda n, h: (n, 0, 1), "num_q_tokens_per_head_k"),
    (lambda n, h: (n, None, 1), "num_q_tokens_per_head_k"),
    (lambda n, h: (n, 8, None), "num_heads_k"),
    (lambda n, h: (n, 8, 1, None, True, 64), "num_heads_q"),
    (lambda n, h: (n, 8, 1, 3, True, 64), "num_q_tokens_per_head_k"),
    (lambda n, h: (n, 8, 1, 8, True, 0), "topk"),
    (lambda n, h: (h, 8, 1), "cache_seqlens"),
]


@pytest.mark.parametrize("arguments, name", WRONG)
def test_wrong_calls(fw, arguments, name):
    lengths = fw.full((2,), 5, "i32"), fw.full((2,), 5, "i64")
    with pytest.raises(ValueError, match=f"^{name}: given .*, wanted "):
        get_mla_metadata(*arguments(*lengths))


def test_tensors_that_are_no_schedule(fw, rng):
    case = cases.dense(fw, rng)
    with pytest.raises(ValueError, match="^tile_scheduler_metadata: given i32"):
        flash_mla_with_kvcache(*case.arguments(), fw.full((4, 7), 0, "i32"))
    work, _ = get_mla_metadata(case.lengths, 8, 1)
    with pytest.raises(ValueError, match="^num_splits: given "):
        flash_mla_with_kvcache(*case.arguments(), work, fw.full((4,), 0.0, "fp32"))


def test_one_tensor_serves_batches_of_any_size(fw, rng):
    """As engines do that capture a CUDA graph for each batch size."""
    kept, kept_splits = get_mla_metadata(fw.full((8,), 1, "i32"), 8, 1)
    for b in (8, 3, 5):
        case = cases.dense(fw, rng, b=b, page=64 if b > 3 else 16)
        work, splits = get_mla_metadata(case.lengths, 8, 1)
        kept[...] = work
        kept_splits[: b + 1] = splits
        for _ in range(2):
            check(fw, case, kept, kept_splits[: b + 1])


def test_one_unchanged_schedule_serves_other_problems(fw, rng):
    case = cases.dense(fw, rng, h_q=16)
    schedule = get_mla_metadata(case.lengths, 16, 1)
    for _ in range(2):
        check(fw, case, *schedule)
        fewer = cases.dataclasses.replace(case, q=case.q[:, :, :4])
        fewer.wanted = case.wanted[0][:, :, :4], case.wanted[1][:, :4]
        check(fw, fewer, *schedule)
