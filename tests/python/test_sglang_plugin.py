"""The plug-in where sgl-flash-mla, installed later, has overwritten files of this package."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import flash_mla
from engine_trees import trees

# What sgl-flash-mla's files of these names have, with functions that say who was called.
THEIR_INTERFACE = """
import dataclasses
from typing import Any

@dataclasses.dataclass
class FlashMLASchedMeta:
    have_initialized: bool = False
    config: Any = None
    tile_scheduler_metadata: Any = None
    num_splits: Any = None

def get_mla_metadata(*args, **kwargs):
    return FlashMLASchedMeta(), None

def get_mla_decoding_metadata(*args, **kwargs):
    return "theirs", args, kwargs

def flash_mla_with_kvcache(q, *args, **kwargs):
    return "theirs", args, kwargs

def flash_mla_sparse_fwd(*args, **kwargs):
    return "theirs", args, kwargs
"""
THEIR_INIT = """
from . import fused_norm_rope_attn_rope_cast
from .flash_mla_interface import (
    flash_mla_sparse_fwd, flash_mla_with_kvcache, get_mla_decoding_metadata, get_mla_metadata
)
"""

CODE = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import torch
from sglang.kernels.ops.attention import flash_mla_interface as interface
import sglang.version as about
if VERSION: about.__version__ = VERSION
from flash_mla.sglang_plugin import register
register()
lengths = torch.tensor([70, 5])
table = torch.tensor([[2, 0], [1, 0]], dtype=torch.int32)
q, cache = torch.randn(2, 8, 576).bfloat16(), torch.randn(3 * 64, 1, 576).bfloat16()
meta = interface.get_mla_metadata(lengths.int(), 8, 1)
print("metadata", "theirs" if meta[0] == "theirs" else "ours")
fp8 = interface.get_mla_metadata(lengths.int(), 8, 1, is_fp8_kvcache=True)
sparse = interface.get_mla_metadata(lengths.int(), 8, 1, 8, True, 64)
print("other metadata", fp8[0], sparse[0])
named = dict(k_cache=cache.view(3, 64, 1, 576), block_table=table, cache_seqlens=lengths.int(),
             head_dim_v=512, tile_scheduler_metadata=meta[0], num_splits=meta[1], causal=True)
def who(result):
    return "theirs" if isinstance(result[0], str) else "ours"
result = interface.flash_mla_with_kvcache(q=q[:, None], **named)
print("decode", who(result))
if who(result) == "ours":
    rows = torch.cat([cache.view(3, 64, 576)[2], cache.view(3, 64, 576)[0]])[:70].double()
    weights = torch.softmax(q[0].double() @ rows.T * 576**-0.5, -1)
    wanted = weights @ rows[:, :512]
    assert (result[0][0, 0].double() - wanted).norm() < 2**-7 * wanted.norm()
print("other GPU", who(interface.flash_mla_with_kvcache(q=q[:, None].to("meta"), **named)))
print("fp8", who(interface.flash_mla_with_kvcache(q=q[:, None].to(torch.float8_e4m3fn), **named)))
print("v4", who(interface.flash_mla_with_kvcache(
    q=q[:, None], k_cache=cache, block_table=None, cache_seqlens=None, head_dim_v=512,
    tile_scheduler_metadata=interface.get_mla_metadata()[0], indices=table)))
print("prefill", interface.flash_mla_sparse_fwd(q, cache, table, 0.1)[0])
"""


@pytest.fixture
def overwritten(tmp_path):
    """A folder with this package, some of whose files are sgl-flash-mla's."""
    package = tmp_path / "flash_mla"
    shutil.copytree(pathlib.Path(flash_mla.__file__).parent, package)
    (package / "__init__.py").write_text(THEIR_INIT)
    (package / "flash_mla_interface.py").write_text(THEIR_INTERFACE)
    (package / "fused_norm_rope_attn_rope_cast.py").write_text("")
    return tmp_path


def run(folder, version="", **environment):
    paths = os.pathsep.join([str(folder), trees.FOLDER])
    result = subprocess.run(
        [sys.executable, "-c", CODE.replace("VERSION", repr(version))], capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": paths, **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    names = ["metadata", "decode", "other GPU", "fp8", "v4", "prefill"]
    answers = [line.rpartition(" ")[2] for name in names for line in lines if line.startswith(name)]
    assert "other metadata theirs theirs" in lines
    return lines[0], answers


def test_dense_decoding_is_redirected(overwritten):
    said, answers = run(overwritten, FLASH_MLA_SGLANG="1")
    assert said == f"flash_mla {flash_mla.__version__} serves SGLang's dense decoding on Hopper"
    assert answers == ["ours", "ours", *["theirs"] * 4]


@pytest.mark.parametrize(
    "version, environment, said",
    [
        ("", {"FLASH_MLA_SGLANG": "0"}, "set FLASH_MLA_SGLANG=1, or install flash_mla again"),
        ("", {"FLASH_MLA_SGLANG": ""}, "sgl-flash-mla has overwritten files of flash_mla"),
        ("0.4.9", {"FLASH_MLA_SGLANG": "1"}, "leaves SGLang 0.4.9 alone: it knows the calls of"),
    ],
)
def test_nothing_is_redirected(overwritten, version, environment, said):
    line, answers = run(overwritten, version, **environment)
    assert said in line
    assert answers == ["theirs"] * 6


def test_this_package_in_its_place(caplog):
    from flash_mla import sglang_plugin

    before = flash_mla.flash_mla_with_kvcache
    with trees.installed(), caplog.at_level("INFO"):
        sglang_plugin.register()
    assert caplog.messages == [
        f"flash_mla {flash_mla.__version__} is what SGLang imports as flash_mla"
    ]
    assert flash_mla.flash_mla_with_kvcache is before
