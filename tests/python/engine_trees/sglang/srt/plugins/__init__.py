"""SGLang calls the functions of this entry-point group once in every process."""

from importlib.metadata import entry_points

GENERAL_PLUGINS_GROUP = "sglang.srt.plugins"


def load_plugins():
    found = entry_points()
    if hasattr(found, "select"):  # Python 3.10
        found = found.select(group=GENERAL_PLUGINS_GROUP)
    else:
        found = found.get(GENERAL_PLUGINS_GROUP, [])
    for entry in found:
        entry.load()()
