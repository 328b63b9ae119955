"""The files of the repository, and their code without comments and strings."""

import pathlib
import re
import subprocess
import sys

CODE_SUFFIXES = {".h", ".cpp", ".cu"}
BUILT = {"build", ".cache", ".git", "__pycache__", "peers"}

_COMMENT_OR_LITERAL = re.compile(
    r'R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\''
    r"|//[^\n]*|/\*.*?\*/",
    re.DOTALL,
)


def files_of(root):
    """Tracked files and new ones that git does not ignore; without git, all but build outputs."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=False,
    ) if (root / ".git").exists() and _has_git() else None
    if listing is not None and listing.returncode == 0:
        found = [root / name for name in listing.stdout.split("\0") if name]
    else:
        found = [p for p in root.rglob("*") if not BUILT & set(p.relative_to(root).parts)]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _has_git():
    try:
        subprocess.run(["git", "--version"], capture_output=True, check=True)
        return True
    except (FileNotFoundError, subprocess.CalledProcessError):
        return False


def code_files(root, *folders):
    """C++ and CUDA sources below the folders."""
    roots = [root / folder for folder in folders]
    return [
        path
        for path in files_of(root)
        if path.suffix in CODE_SUFFIXES and any(folder in path.parents for folder in roots)
    ]


def bare_code(text):
    """The text with comments and literals blanked; lines keep their numbers."""
    return _COMMENT_OR_LITERAL.sub(lambda m: " " + "\n" * m.group().count("\n"), text)


def report(rule, violations):
    """Prints the violations and leaves with 1 where there are any."""
    for violation in violations:
        print(violation)
    print(f"{rule}: {len(violations)} violations")
    sys.exit(1 if violations else 0)


def root_argument():
    return pathlib.Path(sys.argv[1]).resolve()
