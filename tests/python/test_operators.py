"""Operators of PyTorch, each one alone."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import flash_mla  # noqa: E402
import frameworks  # noqa: E402
import wrong_objects  # noqa: E402
from operator_calls import calls  # noqa: E402

FRAMEWORKS = frameworks.torch_devices()


def operators():
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name.partition("::")[2] for name in names if name.startswith("flashmla::"))


def test_every_operator_is_checked(rng):
    assert operators() == sorted(calls(frameworks.Torch("cpu"), rng))


@pytest.mark.parametrize("name", operators())
def test_opcheck(fw, rng, name):
    """Schema, fake kernel, autograd and AOT dispatch of PyTorch's own check."""
    sound = calls(fw, rng)
    if name not in sound:
        pytest.skip("the CUDA backend does not have it yet")
    for arguments, named in sound[name]:
        torch.library.opcheck(getattr(torch.ops.flashmla, name).default, arguments, named)


def test_operators_have_a_namespace_of_their_own():
    assert not [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("flash_mla::")]


# PyTorch itself refuses these, or makes plain tensors of them, before it asks the operator.
PYTORCH_S_OWN = "nested", "masked", "fake", "negated later"
# Beside a schedule, which holds the lengths, no more than type and shape of theirs is looked at.
OF_LENGTHS = "0 dimensions", "one dimension more", "float64", "bool"


def wrong_tensors(fw, parameter, value, call, written):
    """(text, what to give instead of a tensor or of a list of them)."""
    is_list = isinstance(value, list)
    like = value[0] if is_list else value
    alone = sum(isinstance(v, (torch.Tensor, list)) for v in call.values()) == 1
    left_out = {*PYTORCH_S_OWN, *(["meta"] if alone and not is_list else [])}
    if parameter == "scale_tensor":
        left_out |= {"0 dimensions", "int16", "float64", "uint32", "sparse COO", "quantised"}
    for text, spoiled in wrong_objects.tensors(fw, like, optional=True, written=written):
        scheduled = parameter == "cache_seqlens" and call.get("schedule") is not None
        if not isinstance(spoiled, torch.Tensor) or text in left_out:
            continue
        if scheduled and text not in OF_LENGTHS:
            continue
        yield text, [spoiled, *value[1:]] if is_list else spoiled


@pytest.mark.parametrize("name", operators())
def test_wrong_tensors(fw, rng, name):
    sound = calls(fw, rng)
    if name not in sound:
        pytest.skip("the CUDA backend does not have it yet")
    operator = getattr(torch.ops.flashmla, name).default
    parameters = {argument.name: argument for argument in operator._schema.arguments}
    complaints, tried = [], 0
    for arguments, named in sound[name]:
        call = {**dict(zip(parameters, arguments)), **named}
        operator(**call)
        for parameter, value in call.items():
            if not isinstance(value, (torch.Tensor, list)) or parameter == "schedule":
                continue
            written = parameters[parameter].alias_info is not None
            for text, spoiled in wrong_tensors(fw, parameter, value, call, written):
                tried += 1
                try:
                    operator(**{**call, parameter: spoiled})
                    complaint = "accepted"
                except Exception as failure:
                    complaint = wrong_objects.complaint(failure, parameters)
                if complaint:
                    complaints.append(f"{parameter}, {text}: {complaint}")
    assert tried and not complaints, "\n".join(complaints)


def test_operators_give_what_functions_give(fw, rng):
    case = cases.dense(fw, rng)
    meta = flash_mla.get_mla_metadata()[0]
    state = flash_mla.flash_mla_with_kvcache(*case.arguments(), meta)
    twice = [state[0]] * 2, [state[1]] * 2
    for result, wanted in zip(
        torch.ops.flashmla.merge_states(*twice), flash_mla.merge_states(*twice)
    ):
        assert torch.equal(result, wanted)
    cache, rows = case.cache.clone(), fw.full((1, 1, 576), 2.0, "bf16")
    torch.ops.flashmla.append(cache, rows, fw.full((1,), 7, "i32"))
    assert fw.same(cache, flash_mla.append(case.cache, rows, fw.full((1,), 7, "i32")))


def test_operator_errors_name_the_argument(fw, rng):
    case = cases.dense(fw, rng)
    q, cache, table, lengths = case.arguments()[:4]
    with pytest.raises(ValueError, match="^q: given a tensor that requires grad"):
        torch.ops.flashmla.decode(q.clone().requires_grad_(), cache, table, lengths)
    with pytest.raises(ValueError, match="^cache_seqlens: given .*, wanted "):
        torch.ops.flashmla.decode(q, cache, table, lengths.long())
    with pytest.raises(TypeError, match="^block_table: given None"):
        torch.ops.flashmla.decode(q, cache, None, lengths)
    with pytest.raises(ValueError, match="^q: given .*, wanted "):
        torch.ops.flashmla.decode(q[0], cache, table, lengths)


def test_a_scale_on_a_gpu_is_not_waited_for(fw, rng):
    if fw.device == "cpu":
        pytest.skip("no GPU")
    case = cases.dense(fw, rng)
    scale, meta = torch.tensor(0.1, device=fw.device), flash_mla.get_mla_metadata()[0]
    with pytest.raises(ValueError, match="^softmax_scale: given a number on a GPU, wanted "):
        flash_mla.flash_mla_with_kvcache(*case.arguments(), meta, softmax_scale=scale)
    with pytest.raises(ValueError, match="^softmax_scale: given a number on a GPU, wanted "):
        torch.ops.flashmla.decode(*case.arguments()[:4], scale_tensor=scale)
