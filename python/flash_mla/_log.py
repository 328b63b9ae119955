"""The library's messages: to a callable, or nowhere."""

from __future__ import annotations

import atexit
import os
import sys

from . import _core
from ._arguments import shown
from ._frameworks import error

SWITCH = "FLASH_MLA_LOG"


def set_log(callback):
    """Sends the library's messages to a callable, or nowhere with None, as at first.

    flash_mla.set_log(print)

    callback: called with each message, a str. It is told at the first call of each kind of kernel
        what computes it: "dense_decode bf16, cache bf16: kernel swap_ab, tiles of 16 rows in
        clusters of 2, on cuda:0". A new callback is told anew. It is called in the thread of the
        attention call, in the middle of that call. Its exceptions go to sys.unraisablehook, and the
        attention call goes on. Nothing is said any more once the interpreter ends.

    Raises TypeError naming it. Without a callback a call spends nothing on messages.
    """
    if callback is not None and not callable(callback):
        raise error(TypeError, "callback", shown(callback), "a callable that takes a str, or None")
    _core.set_log(callback)


def _to_stderr(message):
    print(f"flash_mla: {message}", file=sys.stderr, flush=True)


atexit.register(_core.set_log, None)
if os.environ.get(SWITCH, "0") not in ("", "0"):
    set_log(_to_stderr)
