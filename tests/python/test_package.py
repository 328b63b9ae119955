"""The package itself: names, versions, imports."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import flash_mla
import pytest
from flash_mla import flash_mla_interface

SIGNATURES = {
    "get_mla_metadata": "cache_seqlens=None, num_q_tokens_per_head_k=None, num_heads_k=None, "
    "num_heads_q=None, is_fp8_kvcache=False, topk=None",
    "flash_mla_with_kvcache": "q, k_cache, block_table, cache_seqlens, head_dim_v, "
    "tile_scheduler_metadata, num_splits=None, softmax_scale=None, causal=False, "
    "is_fp8_kvcache=False, indices=None, attn_sink=None, extra_k_cache=None, "
    "extra_indices_in_kvcache=None, topk_length=None, extra_topk_length=None, *, out=None, "
    "lse=None",
    "flash_mla_sparse_fwd": "q, kv, indices, sm_scale, d_v=512, attn_sink=None, "
    "topk_length=None, *, out=None, max_logits=None, lse=None",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_positional_order(name):
    function = getattr(flash_mla, name)
    assert str(inspect.signature(function)).startswith("(" + SIGNATURES[name])
    assert getattr(flash_mla_interface, name) is function


@pytest.mark.parametrize("suffix", ["", "_qkvpacked", "_kvpacked"])
def test_names_without_a_kernel(suffix):
    name = f"flash_attn_varlen{suffix}_func"
    for module in (flash_mla, flash_mla_interface):
        with pytest.raises(NotImplementedError, match=f"^{name}: "):
            getattr(module, name)(1, key=2)


def test_version():
    major, minor = flash_mla.__version__.split(".")[:2]
    assert (int(major), int(minor)) >= (1, 1)


def test_info():
    info = flash_mla.info()
    assert info.version == flash_mla.__version__ and re.match(r"\d+\.\d+", info.library_version)
    cpu = [backend for backend in info.backends if backend.name == "cpu"]
    assert len(cpu) == 1 and cpu[0].unavailable == "" and cpu[0].devices
    assert info.problems == ()
    assert "backend cpu: usable" in str(info) and "backend cuda: " in str(info)


def test_threads():
    before = flash_mla.cpu_threads()
    flash_mla.set_cpu_threads(3)
    assert flash_mla.cpu_threads() == flash_mla.info().cpu_threads == 3
    flash_mla.set_cpu_threads(0)
    with pytest.raises(ValueError, match="^threads: given -1"):
        flash_mla.set_cpu_threads(-1)
    assert before >= 1


def run(code, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **environment},
    ).stdout  # fmt: skip


def test_needs_neither_numpy_nor_pytorch():
    hidden = "import sys; sys.modules.update(numpy=None, torch=None, ml_dtypes=None); "
    assert "without PyTorch" in run(hidden + "import flash_mla; print(flash_mla.info())")


def test_backend_filter():
    code = "import flash_mla; print(flash_mla.info())"
    assert "filtered out by FLASHMLA_BACKEND=cuda" in run(code, FLASHMLA_BACKEND="cuda")


def test_prints_nothing_at_exit():
    code = "import flash_mla; flash_mla.plan(device='cpu', query_heads=8).describe = 1"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == result.stderr == ""


def stub_arguments():
    """{name: [(argument, default), ...]} of the functions and methods in the type stub."""
    package = pathlib.Path(flash_mla.__file__).parent
    assert (package / "py.typed").is_file()
    found = {}
    for node in ast.walk(ast.parse((package / "__init__.pyi").read_text())):
        if isinstance(node, ast.FunctionDef) and not node.args.vararg:
            given = node.args.args
            missing = [None] * (len(given) - len(node.args.defaults))
            pairs = list(zip(given, missing + node.args.defaults))
            pairs += zip(node.args.kwonlyargs, node.args.kw_defaults)
            found[node.name] = [
                (argument.arg, None if default is None else ast.unparse(default))
                for argument, default in pairs
            ]
    return found


def test_stub_matches_the_functions():
    stub = stub_arguments()
    for name in flash_mla.__all__:
        value = getattr(flash_mla, name)
        if not inspect.isfunction(value) or name.startswith("flash_attn"):
            continue
        real = [
            (parameter.name, None if parameter.default is inspect._empty else parameter.default)
            for parameter in inspect.signature(value).parameters.values()
        ]
        typed = [(n, None if d is None else ast.literal_eval(d)) for n, d in stub[name]]
        assert typed == real, name
    run = list(inspect.signature(flash_mla.Plan.run).parameters)
    assert [name for name, _ in stub["run"]] == run


def imports_of(path):
    """Modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_modules_do_not_import_each_other():
    package = pathlib.Path(flash_mla.__file__).parent
    files = [path for path in package.glob("*.py") if path.stem.startswith("_")]
    waiting = {path.stem: imports_of(path) for path in files if path.stem != "__init__"}
    assert "_plan" in waiting["_schedule"]
    while waiting:
        free = [name for name, needed in waiting.items() if not needed & waiting.keys()]
        assert free, f"in a circle, or behind one: {sorted(waiting)}"
        for name in free:
            del waiting[name]
