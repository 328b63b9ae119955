"""The vLLM around the plug-in: its version, its GPU, its registry of backends and its log."""

from __future__ import annotations

import logging
import os
import re

from .._arguments import shown
from .._frameworks import error

SETTING = "FLASH_MLA_VLLM"
# The versions whose sources were read. The tests' stubs are of the first and the last of them.
# The second number is the first version that is unknown.
_FIRST, _BEHIND_LAST = (0, 26), (0, 34)
_HOPPER = (9, 0)

# vLLM's log shows the loggers below its own name alone.
_logger = logging.getLogger("vllm.flash_mla")
_said: set = set()


def say_once(text, important=False):
    """One line in vLLM's log, a warning where it is important; the same text never comes again."""
    if text not in _said:
        _said.add(text)
        _logger.log(logging.WARNING if important else logging.INFO, "%s", text)


def replacement_wanted():
    """Whether FLASH_MLA_VLLM asks for the replacement of vLLM's own functions."""
    value = os.environ.get(SETTING, "0")
    if value not in ("0", "1"):
        raise error(ValueError, SETTING, shown(value), "0 or 1 in the environment")
    return value == "1"


def reason_to_stay_out():
    """Why this vLLM is left as it is; "" where it is not.

    A process that sees no GPU at all is one that serves none, and is no such reason.
    """
    import vllm

    version = str(getattr(vllm, "__version__", "unknown"))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    known = numbers and _FIRST <= tuple(map(int, numbers.groups())) < _BEHIND_LAST
    if not known:
        first, last = ".".join(map(str, _FIRST)), f"{_BEHIND_LAST[0]}.{_BEHIND_LAST[1] - 1}"
        return f"its version {version} is unknown, known are {first} to {last}"
    from vllm.platforms import current_platform

    # NOTE: vLLM's own question. It does not start CUDA, which a process that forks later may not.
    capability = current_platform.get_device_capability()
    if capability is not None and not is_hopper(capability):
        given = f"{capability.major}.{capability.minor}"
        return f"the GPU has compute capability {given}, and the kernels are for 9.0"
    return ""


def is_hopper(capability):
    """Whether vLLM's DeviceCapability is the one that the kernels are made for."""
    return (capability.major, capability.minor) == _HOPPER


def take_custom(path):
    """Registers the backend of this path as CUSTOM, unless another plug-in has taken that name."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    custom = AttentionBackendEnum.CUSTOM
    if custom.is_overridden() and custom.get_path() != path:
        say_once(
            f"FlashMLA is not the attention backend CUSTOM: it is {custom.get_path()} already",
            important=True,
        )
        return
    register_backend(custom, path)
