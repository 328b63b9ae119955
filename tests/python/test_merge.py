"""merge_states: the parts of a sequence give what the whole gives."""

import cases
import numpy
import pytest
from flash_mla import flash_mla_with_kvcache, get_mla_metadata, merge_states, plan


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
    cases.check(fw, (out, lse), case.wanted)
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
        (lambda: merge_states([out], [lse[:1]]), r"lses\[0\]"),
        (lambda: merge_states([out], [lse], fw.full((5,), 0.0, "fp32")), "attn_sink"),
        (lambda: merge_states([out], [lse], out=out[:1]), r"outs\[0\]|lses\[0\]"),
    ]:
        with pytest.raises(ValueError, match=f"^({name}): given .*, wanted "):
            call()
    with pytest.raises(TypeError, match=r"^outs\[0\]: given a list"):
        merge_states([[1.0]], [lse])


def two_parts(fw, rng, kinds=("bf16", "fp32"), b=3, s_q=2, h_q=4):
    """Two partial results and what merging them gives, in float64."""
    outs = [fw.array(rng.standard_normal((b, s_q, h_q, 512)), kind) for kind in kinds]
    lses = [fw.array(rng.standard_normal((b, h_q, s_q)) * 3, "fp32") for _ in kinds]
    weights = numpy.exp(numpy.stack([fw.numbers(lse) for lse in lses]))
    values = numpy.stack([fw.numbers(out) for out in outs])
    total = weights.sum(axis=0)
    shares = (weights / total).transpose(0, 1, 3, 2)[..., None]
    return outs, lses, (shares * values).sum(axis=0), numpy.log(total)


def close(fw, results, out, lse):
    bf16 = numpy.abs(fw.numbers(results[0]) - out) <= 2.0**-8 * numpy.abs(out) + 1e-5
    return bf16.all() and numpy.allclose(fw.numbers(results[1]), lse, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kinds", [("bf16", "fp32"), ("fp32", "fp16"), ("fp16", "bf16", "fp32")])
def test_parts_of_different_types(fw, rng, kinds):
    outs, lses, *wanted = two_parts(fw, rng, kinds)
    results = merge_states(outs, lses)
    assert close(fw, results, *wanted) and results[0].dtype == outs[0].dtype
    out = fw.full((3, 2, 4, 512), 0, kinds[1])
    assert close(fw, merge_states(outs, lses, out=out), *wanted)


def test_lse_as_views(fw, rng):
    outs, lses, out, lse = two_parts(fw, rng)
    wide = fw.full((3, 9, 4), numpy.nan, "fp32")
    heads = wide[:, 1::2, ::2]  # every other head of a tensor
    heads[...] = lses[0]
    turned = fw.array(fw.numbers(lses[1]).transpose(2, 0, 1), "fp32")
    turned = turned.transpose(1, 2, 0) if fw.name == "numpy" else turned.permute(1, 2, 0)
    assert close(fw, merge_states(outs, [heads, turned]), out, lse)
    into = fw.full((3, 8, 2), 0.0, "fp32")
    results = merge_states(outs, lses, lse=into[:, ::2])
    assert close(fw, results, out, lse)
    assert (fw.numbers(into)[:, 1::2] == 0).all()


def test_lse_with_tokens_first(fw, rng):
    outs, lses, out, lse = two_parts(fw, rng)
    first = [fw.array(fw.numbers(each).swapaxes(1, 2), "fp32") for each in lses]
    results = merge_states(outs, first, lse_layout="bsh")
    assert close(fw, results, out, lse.swapaxes(1, 2))
    with pytest.raises(ValueError, match=r"^lses\[0\]: given "):
        merge_states(outs, first)
    # Prefill's results have no batch dimension.
    results = merge_states([o[0] for o in outs], [each[0] for each in first], lse_layout="bsh")
    assert close(fw, results, out[0], lse[0].T) and tuple(results[1].shape) == (2, 4)


def test_what_weighs_nothing_is_not_read(fw, rng):
    outs, lses, out, lse = two_parts(fw, rng)
    outs.append(fw.full((3, 2, 4, 512), numpy.nan, "fp32"))
    for tiny in (-1e4, -3e38, -numpy.inf, numpy.inf):
        results = merge_states(outs, [*lses, fw.full((3, 4, 2), tiny, "fp32")])
        assert close(fw, results, out, lse)


def test_base_two_and_empty_lse(fw, rng):
    outs, lses, _, lse = two_parts(fw, rng, ("fp32", "bf16"))
    sink = fw.array(rng.standard_normal(4), "fp32")
    natural = merge_states(outs, lses, sink)
    to_two = [fw.array(fw.numbers(each) / numpy.log(2), "fp32") for each in lses]
    results = merge_states(outs, to_two, sink, lse_base=2)
    assert close(fw, results, fw.numbers(natural[0]), lse / numpy.log(2))
    for base in (None, numpy.e):
        assert fw.same(merge_states(outs, lses, sink, lse_base=base)[1], natural[1])
    empty = [fw.full((3, 4, 2), -numpy.inf, "fp32")] * 2
    for name, value in (("+inf", numpy.inf), ("-inf", -numpy.inf)):
        results = merge_states(outs, empty, empty_lse=name, lse_base=2)
        assert (fw.numbers(results[1]) == value).all() and (fw.numbers(results[0]) == 0).all()


def test_forms_of_a_plan_s_lse(fw, rng):
    if fw.device == "cuda":
        pytest.skip("the decode kernels do not have the forms yet")
    case = cases.dense(fw, rng)
    b = case.q.shape[0]
    lengths = fw.array(numpy.where(numpy.arange(b) == 0, 0, case.values["lengths"]), "i32")
    made = plan(device=fw.device, batch=b, query_heads=8, max_pages=case.table.shape[1])
    made.schedule(lengths)
    call = case.q, case.cache, case.table
    natural = fw.numbers(made.run(*call)[1])
    empty = natural == numpy.inf
    assert empty[0].all()
    lse = fw.numbers(made.run(*call, lse_base=2, empty_lse="-inf")[1])
    assert (lse[empty] == -numpy.inf).all()
    assert numpy.allclose(lse[~empty], natural[~empty] / numpy.log(2), rtol=1e-6, atol=1e-6)
