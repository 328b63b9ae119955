#!/usr/bin/env python3
"""Two programs end well and print the same. usage: same_output.py PROGRAM PROGRAM"""

import subprocess
import sys


def output(program):
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    if result.returncode != 0 or not result.stdout:
        sys.exit(f"same_output: {program} ended with {result.returncode}: {result.stderr}")
    return result.stdout


def main():
    first, second = (output(program) for program in sys.argv[1:3])
    if first != second:
        sys.exit(f"same_output: different lines\n{first}\n{second}")
    print(first, end="")


if __name__ == "__main__":
    main()
