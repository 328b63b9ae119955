"""The plug-in of vLLM and its backend CUSTOM, in a stand-in for vLLM (vllm_stub.py), on the CPU."""

import importlib
import logging
import pathlib
import subprocess
import sys
import types

import cases
import flash_mla
import frameworks
import numpy
import pytest
import reference
import vllm_stub

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from flash_mla.vllm_plugin import BACKEND, _engine, _serving, register  # noqa: E402

FW = frameworks.Torch("cpu")
PYPROJECT = pathlib.Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.fixture(params=vllm_stub.VERSIONS)
def tree(request, monkeypatch):
    return new_tree(monkeypatch, request.param)


def new_tree(monkeypatch, version, capability=(9, 0)):
    monkeypatch.delenv("FLASH_MLA_VLLM", raising=False)
    monkeypatch.setattr(_engine, "_said", set())
    monkeypatch.setattr(_serving, "_refusals", {})
    return vllm_stub.Tree(monkeypatch, version, capability)


def backend_of(tree):
    """The backend that vLLM takes under the name CUSTOM."""
    register()
    module, _, name = tree.overrides[sys.modules[vllm_stub.REGISTRY].AttentionBackendEnum.CUSTOM]\
        .rpartition(".")  # fmt: skip
    return getattr(importlib.import_module(module), name)


def layer_of(backend, heads, scale=0.1, ranks=1, **options):
    """The implementation of one layer, made as vLLM makes it."""
    impl = backend.get_impl_cls()
    given = {"alibi_slopes": None, "sliding_window": None, "logits_soft_cap": None, **options}
    kind = type("Impl", (impl,), {"dcp_world_size": ranks})
    return kind(
        heads, 576, scale, 1, given["alibi_slopes"], given["sliding_window"], "auto",
        given["logits_soft_cap"], given.get("attn_type", "decoder"), None, q_lora_rank=None,
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, qk_head_dim=192,
        v_head_dim=128, kv_b_proj=None,
    )  # fmt: skip


def step_of(backend, case, s_q=1, **more):
    """The metadata of a decoding step over a case's requests."""
    builder = backend.get_builder_cls()(None, ["layer"], None, "cpu")
    return builder.build(case.table, case.lengths, s_q * len(case.lengths), **more)


def test_entry_point():
    assert '[project.entry-points."vllm.general_plugins"]\n' in PYPROJECT.read_text()
    assert '\nflash_mla = "flash_mla.vllm_plugin:register"\n' in PYPROJECT.read_text()


def test_nothing_is_imported_early():
    """Neither the package nor the module of the entry point imports anything of vLLM."""
    script = (
        "import sys, flash_mla\n"
        "assert not [m for m in sys.modules if 'vllm' in m], 'flash_mla'\n"
        "import flash_mla.vllm_plugin\n"
        "found = [m for m in sys.modules if 'vllm' in m]\n"
        "assert found == ['flash_mla.vllm_plugin'], found\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_installed_alone_it_only_registers(tree):
    before = {name: getattr(tree.vendored, name) for name in dir(tree.vendored)}
    backend = backend_of(tree)
    assert f"{backend.__module__}.{backend.__qualname__}" == BACKEND and backend.get_name()
    register()  # vLLM may call it again
    assert {name: getattr(tree.vendored, name) for name in dir(tree.vendored)} == before


def test_another_plug_in_keeps_custom(tree, caplog):
    custom = sys.modules[vllm_stub.REGISTRY].AttentionBackendEnum.CUSTOM
    tree.overrides[custom] = "somebody.Else"
    register()
    assert tree.overrides == {custom: "somebody.Else"}
    assert "it is somebody.Else already" in caplog.text


@pytest.mark.parametrize(
    ("version", "capability", "reason"),
    [
        ("0.25.9", (9, 0), "its version 0.25.9 is unknown, known are 0.26 to 0.33"),
        ("0.34.0", (9, 0), "its version 0.34.0 is unknown"),
        ("dev", (9, 0), "its version dev is unknown"),
        ("0.33.0", (10, 0), "the GPU has compute capability 10.0"),
        ("0.26.0", (8, 0), "the GPU has compute capability 8.0"),
    ],
)
@pytest.mark.parametrize("wanted", ["0", "1"])
def test_left_alone(monkeypatch, caplog, version, capability, reason, wanted):
    tree = new_tree(monkeypatch, version, capability)
    own = tree.vendored.flash_mla_with_kvcache
    monkeypatch.setenv("FLASH_MLA_VLLM", wanted)
    caplog.set_level(logging.INFO)
    register()
    register()
    assert not tree.overrides and tree.vendored.flash_mla_with_kvcache == own
    assert [record.getMessage() for record in caplog.records] == [caplog.messages[0]]
    assert caplog.messages[0].startswith(f"FlashMLA leaves vLLM as it is: {reason}")
    assert caplog.records[0].levelname == ("WARNING" if wanted == "1" else "INFO")


def test_process_without_a_gpu(tree):
    tree.platform.capability = None
    assert backend_of(tree).get_name() == "CUSTOM"


@pytest.mark.parametrize("value", ["2", "", "yes"])
def test_wrong_setting(tree, monkeypatch, value):
    monkeypatch.setenv("FLASH_MLA_VLLM", value)
    with pytest.raises(ValueError, match=f"^FLASH_MLA_VLLM: given '{value}', wanted 0 or 1"):
        register()
    assert not tree.overrides


def test_what_vllm_asks(tree):
    backend = backend_of(tree)
    hopper, later = vllm_stub.DeviceCapability(9, 0), vllm_stub.DeviceCapability(10, 0)

    def faults(head=576, dtype=torch.bfloat16, cache="auto", page=64, capability=hopper):
        return backend.faults(head, dtype, cache, page, capability, True, True)

    assert not any(faults(page=page) for page in (1, 16, 64, 256))
    assert not faults(dtype=torch.float16, cache="float16")
    assert faults(head=320) == ["head size"] and faults(dtype=torch.float32) == ["dtype"]
    assert faults(cache="fp8") == ["cache"] and faults(capability=later) == ["capability"]
    assert faults(head=512) == ([] if tree.new else ["head size"])
    assert backend.get_preferred_block_size(16) == 64
    builder = backend.get_builder_cls()
    assert builder._cudagraph_support.name == "UNIFORM_BATCH"
    assert not backend.supports_device_cpu_query_lens_mismatch()
    for option in ("alibi_slopes", "sliding_window", "logits_soft_cap"):
        with pytest.raises(NotImplementedError, match=option):
            layer_of(backend, 4, **{option: 1})
    with pytest.raises(NotImplementedError, match="attn_type"):
        layer_of(backend, 4, attn_type="encoder")


@pytest.mark.parametrize(
    ("heads", "page", "s_q", "kind"),
    [(1, 64, 1, "bf16"), (16, 16, 1, "fp16"), (5, 32, 3, "bf16"), (128, 64, 2, "bf16")],
)
@pytest.mark.parametrize("parts", [True, False])
def test_decodes(tree, rng, monkeypatch, heads, page, s_q, kind, parts):
    """Two layers of a step, by the query as vLLM has it and by that of one tensor."""
    if not parts:
        refuse(monkeypatch, lambda fields: not fields.get("split_query", False))
    joined = count(monkeypatch, torch, "cat")
    backend = backend_of(tree)
    case = cases.dense(FW, rng, s_q=s_q, h_q=heads, page=page, kind=kind, longest=150)
    cache = case.cache[:, :, 0]
    step = step_of(backend, case, s_q)
    assert step.decode.block_table is case.table and step.decode.seq_lens is case.lengths
    for _ in range(2):
        q = FW.array(rng.standard_normal((3 * s_q, heads, 192)), kind)
        weights = FW.array(rng.standard_normal((heads, 128, 512)) / 11, kind)
        pair = tree.query_parts(q, weights)
        out, lse = layer_of(backend, heads).forward_mqa(pair, cache, step, None)
        assert lse is None
        check(case, pair, out, None, s_q)
    assert len(joined) == (0 if parts else 2)
    assert step.decode.schedule.have_initialized


def check(case, pair, out, lse, s_q, lengths=None):
    """Compares [tokens, heads, …] with the reference."""
    whole = numpy.concatenate([FW.numbers(part) for part in pair], axis=-1)
    tokens, heads, d = whole.shape
    wanted = reference.dense(
        whole.reshape(-1, s_q, heads, d), case.values["cache"], case.values["table"],
        case.values["lengths"] if lengths is None else lengths, 0.1, causal=True,
    )  # fmt: skip
    wanted_lse = wanted[1].transpose(0, 2, 1).reshape(tokens, heads)
    wanted_lse[numpy.isinf(wanted_lse)] = -numpy.inf
    got = wanted_lse if lse is None else FW.numbers(lse)
    reference.check(
        FW.numbers(out), got, wanted[0].reshape(tokens, heads, 512), wanted_lse, case.kind
    )


def refuse(monkeypatch, served):
    """Lets the library refuse the problems whose fields are not served."""
    make_plan = flash_mla._core.make_plan

    def asked(fields, *device_and_words):
        if not served(fields):
            raise flash_mla._frameworks.error(
                NotImplementedError, "problem", fields["kind"], "something with a kernel"
            )
        return make_plan(fields, *device_and_words)

    core = types.SimpleNamespace(**{**vars(flash_mla._core), "make_plan": asked})
    monkeypatch.setattr(flash_mla._plan, "_core", core)


def count(monkeypatch, module, name):
    """A list that gets an entry at each call of a function."""
    calls, function = [], getattr(module, name)

    def counted(*arguments, **named):
        calls.append(name)
        return function(*arguments, **named)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_the_library_is_asked_once(tree, rng, monkeypatch):
    backend = backend_of(tree)
    case = cases.dense(FW, rng)
    asked = count(monkeypatch, _serving, "plan")
    for _ in range(3):
        pair = torch.zeros(3, 8, 512).bfloat16(), torch.zeros(3, 8, 64).bfloat16()
        step = step_of(backend, case)
        layer_of(backend, 8).forward_mqa(pair, case.cache[:, :, 0], step, None)
    assert len(asked) == 1


def test_no_rotary_part(tree, rng):
    """A model of which all columns are latent ones: 512 a token."""
    backend = backend_of(tree)
    case = cases.dense(FW, rng, d=512, scale=0.1, causal=True)
    pair = case.q[:, 0], case.q.new_empty(3, 8, 0)
    step = step_of(backend, case)
    out, _ = layer_of(backend, 8).forward_mqa(pair, case.cache[:, :, 0], step, None)
    reference.check(FW.numbers(out)[:, None], case.wanted[1], case.wanted[0], case.wanted[1])


@pytest.mark.parametrize("s_q", [1, 2])
def test_context_parallel(tree, rng, s_q):
    """lse is [tokens, heads], contiguous, and −inf for a request of which this rank has nothing."""
    backend = backend_of(tree)
    case = cases.dense(FW, rng, s_q=s_q, longest=100)
    local = numpy.array([0, 40, 77])
    case.table[:] = 0
    case.values["table"][:] = 0
    case.cache.nan_to_num_(0.5)
    case.values["cache"] = FW.numbers(case.cache)
    step = step_of(backend, case, s_q, dcp_lengths=FW.array(local, "i32"))
    assert step.decode.dcp_tot_seq_lens is case.lengths
    q = case.q.flatten(0, 1)  # vLLM has gathered the heads of all ranks, into one tensor
    out, lse = layer_of(backend, 8, ranks=2).forward_mqa(q, case.cache[:, :, 0], step, None)
    assert lse.shape == (3 * s_q, 8) and lse.is_contiguous() and lse.dtype == torch.float32
    assert torch.isneginf(lse[:s_q]).all() and not out[:s_q].any()
    check(case, (q,), out, lse, s_q, local)


@pytest.mark.parametrize("invariant", [True, False])
def test_batch_invariant(tree, rng, invariant):
    """A request alone has the bits that it has among others. Elsewhere it may have other ones."""
    tree.envs.VLLM_BATCH_INVARIANT = invariant
    backend = backend_of(tree)
    case = cases.dense(FW, rng, h_q=16, b=4, longest=2000)
    step = step_of(backend, case)
    assert step.decode.schedule.batch_invariant is invariant
    layer, cache, q = layer_of(backend, 16), case.cache[:, :, 0], case.q[:, 0]
    out, _ = layer.forward_mqa(q, cache, step, None)
    for r in range(4):
        alone = types.SimpleNamespace(table=case.table[r : r + 1], lengths=case.lengths[r : r + 1])
        single, _ = layer.forward_mqa(q[r : r + 1], cache, step_of(backend, alone), None)
        assert FW.same(single, out[r : r + 1]) or not invariant
