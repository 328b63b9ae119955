"""merge_states: the parts of a sequence give what the whole gives."""

import cases
import numpy
import pytest
import reference
from flash_mla import flash_mla_with_kvcache, get_mla_metadata, merge_states


def part(fw, case, lengths, table):
    return flash_mla_with_kvcache(
        case.q, case.cache, fw.array(table, "i32"), fw.array(lengths, "i32"), 512,
        get_mla_metadata()[0],
    )  # fmt: skip


def test_parts_make_the_whole(fw, rng):
    sink = rng.standard_normal(8)
    case = cases.dense(fw, rng, longest=300, sink=sink)
    lengths, table = case.values["lengths"], case.values["table"]
    first = numpy.minimum(lengths, 64 * 2)
    states = [
        part(fw, case, first, table),
        part(fw, case, lengths - first, table[:, 2:]),
        part(fw, case, numpy.zeros_like(lengths), table),
    ]
    outs, lses = [list(each) for each in zip(*states)]
    out, lse = merge_states(outs, lses, fw.array(sink, "fp32"))
    reference.check(fw.numbers(out), fw.numbers(lse), *case.wanted)
    assert out.dtype == case.q.dtype
    again = merge_states(outs, lses, attn_sink=fw.array(sink, "fp32"), out=outs[0], lse=lses[0])
    assert again[0] is outs[0] and again[1] is lses[0] and fw.same(outs[0], out)


def test_empty_parts(fw):
    outs = [fw.full((2, 1, 4, 512), numpy.nan, "fp32")] * 2
    lses = [fw.full((2, 4, 1), numpy.inf, "fp32"), fw.full((2, 4, 1), -numpy.inf, "fp32")]
    out, lse = merge_states(outs, lses)
    assert (fw.numbers(out) == 0).all() and (fw.numbers(lse) == numpy.inf).all()


def test_wrong_calls(fw):
    out, lse = fw.full((2, 1, 4, 512), 0.0, "bf16"), fw.full((2, 4, 1), 0.0, "fp32")
    for call, name in [
        (lambda: merge_states([], []), "outs"),
        (lambda: merge_states([out], []), "lses"),
        (lambda: merge_states([out], [lse[:1]]), r"parts\[0\].lse|lse"),
        (lambda: merge_states([out], [lse], fw.full((5,), 0.0, "fp32")), "attn_sink"),
        (lambda: merge_states([out], [lse], out=out[:1]), r"parts\[0\].out|lse"),
    ]:
        with pytest.raises(ValueError, match=f"^({name}): given .*, wanted "):
            call()
    with pytest.raises(TypeError, match=r"^outs\[0\]: given a list"):
        merge_states([[1.0]], [lse])
