"""Schedules as engines keep them: copied, pickled, built from tensors, made by hand."""

import copy
import dataclasses
import pickle

import cases
import numpy
import pytest
import reference
from flash_mla import (
    FlashMLASchedMeta,
    flash_mla_with_kvcache,
    get_mla_decoding_metadata,
    get_mla_metadata,
)


def check(fw, case, *schedule, **options):
    results = flash_mla_with_kvcache(*case.arguments(), *schedule, **options)
    cases.check(fw, results, case.wanted)
    return results


def same(fw, results, wanted):
    return all(fw.same(a, b) for a, b in zip(results, wanted))


@pytest.mark.parametrize("used", [False, True])
def test_num_splits_beside_an_object(fw, rng, used):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    if used:
        check(fw, case, meta)
        check(fw, case, meta, meta.num_splits)
        check(fw, case, meta, meta.num_splits[:])  # the same numbers in the same place
    for wrong in (0.9, True, "x", 512, fw.full((4,), 0, "i32"), fw.full((3,), 0.0, "fp32")):
        with pytest.raises(ValueError, match="^num_splits: given .*, wanted None, or") as caught:
            flash_mla_with_kvcache(*case.arguments(), meta, wrong)
        assert caught.value.argument == "num_splits"
    assert meta.have_initialized is used


@dataclasses.dataclass
class Step:
    """As users hand schedules on."""

    schedule: FlashMLASchedMeta
    number: int = 3


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle", "asdict"])
@pytest.mark.parametrize("used", [False, True])
def test_copies_are_fresh(fw, rng, how, used):
    case = cases.dense(fw, rng)
    meta = FlashMLASchedMeta(max_workers=2, batch_invariant=True)
    if used:
        check(fw, case, meta)
    step = Step(meta)
    made = {
        "copy": lambda: copy.copy(meta),
        "deepcopy": lambda: copy.deepcopy(step).schedule,
        "pickle": lambda: pickle.loads(pickle.dumps(step)).schedule,
        "asdict": lambda: dataclasses.asdict(step)["schedule"],
    }[how]()
    assert type(made) is FlashMLASchedMeta and made is not meta
    assert not made.have_initialized and made.config is None
    assert made.tile_scheduler_metadata is None and made.num_splits is None
    assert made.max_workers == 2 and made.batch_invariant is True
    other = cases.dense(fw, rng, b=2)  # of another problem than the original's
    check(fw, other, made)
    assert meta.have_initialized is used


def test_copies_keep_the_tensors_of_the_caller(fw, rng):
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    meta = FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits)
    for made in (copy.copy(meta), copy.deepcopy(meta), pickle.loads(pickle.dumps(meta))):
        assert fw.same(made.tile_scheduler_metadata, work) and fw.same(made.num_splits, splits)
        check(fw, case, made)
    by_hand = FlashMLASchedMeta(tile_scheduler_metadata=fw.full((1, 8), 0, "i32"))
    check(fw, case, copy.deepcopy(by_hand))


def test_copies_of_schedule_tensors(fw, rng):
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    check(fw, case, work, splits)
    for made in (copy.copy(work), copy.deepcopy(work), pickle.loads(pickle.dumps(work))):
        assert fw.same(made, work)
        check(fw, case, made, splits)
    shorter = dict(case.values, lengths=case.values["lengths"] // 2)
    other = dataclasses.replace(case, lengths=fw.array(shorter["lengths"], "i32"))
    other.wanted = reference.dense(*shorter.values())
    check(fw, other, copy.deepcopy(work), splits)


def test_fields_of_the_constructor(fw):
    work, splits = fw.full((4, 8), 0, "i32"), fw.full((3,), 0, "i32")
    meta = FlashMLASchedMeta(False, None, work, splits)
    assert meta.tile_scheduler_metadata is work and meta.num_splits is splits
    assert meta.have_initialized is False and meta.config is None
    with pytest.raises(TypeError, match="^have_initialized: given 3, wanted True or False"):
        FlashMLASchedMeta(3)


def test_a_fresh_object_of_the_same_tensors_in_every_layer(fw, rng):
    """Planned once: the tensors carry the plan that the calls share."""
    case = cases.dense(fw, rng)
    work, splits = get_mla_decoding_metadata(case.lengths, 8, 1, 8, False)
    held = None
    for _ in range(3):
        meta = FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits)
        check(fw, case, meta, None)
        assert meta.have_initialized and meta.config.b == 3
        assert meta.tile_scheduler_metadata is work and meta.num_splits is splits
        assert held is None or work._flash_mla.held is held
        held = work._flash_mla.held
    check(fw, case, work, splits)
    assert work._flash_mla.held is held


def test_graph_buffers_in_objects(fw, rng):
    """Two tensors a step, copied into kept ones whose slices make the objects."""
    kept = None
    for b in (4, 3, 3):
        case = cases.dense(fw, rng, b=b)
        work, splits = get_mla_decoding_metadata(case.lengths, 8, 1)
        if kept is None:
            kept = fw.full(tuple(work.shape), -7, "i32"), fw.full((9,), -7, "i32")
        kept[0][...] = work
        kept[1][: b + 1] = splits
        for _ in range(2):
            num_splits = kept[1][: b + 1]
            meta = FlashMLASchedMeta(tile_scheduler_metadata=kept[0], num_splits=num_splits)
            check(fw, case, meta, num_splits)


def by_hand(fw, parts, b):
    """What stands in them is nobody's schedule."""
    return fw.full((parts, 8), 2**31 - 1, "i32"), fw.full((b + 1,), -9, "i32")


@pytest.mark.parametrize("parts", [1, 132])
def test_plans_of_others_are_planned_again(fw, rng, parts):
    case = cases.dense(fw, rng, longest=900)
    work, splits = by_hand(fw, parts, 3)
    meta = get_mla_metadata()[0]
    meta.tile_scheduler_metadata, meta.num_splits = work, splits
    attribute = get_mla_metadata(case.lengths, 8, 1)[0]
    attribute.tile_scheduler_metadata = work
    wanted = check(fw, case, get_mla_metadata(batch_invariant=parts == 1)[0])
    for schedule in ((meta,), (meta, splits), (work, splits), (work,), (attribute,)):
        assert same(fw, check(fw, case, *schedule), wanted)
    assert meta.tile_scheduler_metadata is work and meta.num_splits is splits


def alone(case, r, **options):
    return flash_mla_with_kvcache(
        case.q[r : r + 1], case.cache, case.table[r : r + 1], case.lengths[r : r + 1], 512,
        get_mla_metadata()[0], **options,
    )  # fmt: skip


def test_batch_invariant_as_engines_ask_for_it(fw, rng):
    case = cases.dense(fw, rng, longest=900)
    whole = check(fw, case, get_mla_metadata()[0], enable_batch_invariant=True)
    assert same(fw, check(fw, case, get_mla_metadata(batch_invariant=True)[0]), whole)
    for r in range(3):
        results = alone(case, r, enable_batch_invariant=True)
        assert same(fw, results, [result[r : r + 1] for result in whole])
    # One schedule, asked for both in turns: each call as it asks.
    meta = get_mla_metadata()[0]
    plain = check(fw, case, get_mla_metadata()[0])
    for _ in range(2):
        assert same(fw, check(fw, case, meta, enable_batch_invariant=True), whole)
        assert same(fw, check(fw, case, meta), plain)


def test_fields_that_are_no_plan(fw, rng):
    case = cases.dense(fw, rng)
    for field, wrong in [
        ("tile_scheduler_metadata", fw.full((4, 7), 0, "i32")),
        ("tile_scheduler_metadata", fw.full((4, 8), 0.0, "fp32")),
        ("tile_scheduler_metadata", "plan"),
        ("num_splits", fw.full((3, 2), 0, "i32")),
        ("num_splits", fw.full((9,), 0, "i32")),
        ("num_splits", 3),
    ]:
        fields = dict(zip(("tile_scheduler_metadata", "num_splits"), by_hand(fw, 4, 3)))
        meta = FlashMLASchedMeta(**fields)
        setattr(meta, field, wrong)
        with pytest.raises((ValueError, TypeError), match=f"^{field}: given .*, wanted "):
            flash_mla_with_kvcache(*case.arguments(), meta)
        assert not meta.have_initialized


@pytest.mark.parametrize("field", ["tile_scheduler_metadata", "num_splits"])
def test_one_cleared_field_plans_again(fw, rng, field):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    check(fw, case, meta)
    held = meta._held
    setattr(meta, field, None)
    check(fw, case, meta)
    assert meta._held is not held and getattr(meta, field) is not None


def test_an_option_that_changes_plans_again(fw, rng):
    case = cases.dense(fw, rng, longest=900)
    meta = get_mla_metadata()[0]
    check(fw, case, meta)
    meta.max_workers = 1
    check(fw, case, meta)
    assert meta.tile_scheduler_metadata.shape[0] == 1


def test_lengths_that_changed_in_place(fw, rng):
    """Under schedule tensors that stay the same: a call notices by itself."""
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    check(fw, case, work, splits)
    case.values["lengths"] = numpy.maximum(case.values["lengths"] - 3, 0)
    case.lengths[...] = fw.array(case.values["lengths"], "i32")
    case.wanted = reference.dense(*case.values.values())
    check(fw, case, work, splits)
    check(fw, case, FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits))
