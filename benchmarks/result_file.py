"""The form of the files in benchmarks/results: JSON with one shape a line in columns, and four
significant digits, which is more than two measurements agree in. Plain Python."""

import json


def four_digits(value):
    """The value with every float in it rounded; integers, which count things, stay as they are."""
    if isinstance(value, dict):
        return {name: four_digits(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [four_digits(part) for part in value]
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def dump(value):
    return json.dumps(value, ensure_ascii=False)


def table(rows):
    """A line for each dict of `rows`; all of them have the same names."""
    cells = [[f"{dump(name)}: {dump(value)}," for name, value in row.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for row in cells:
        padded = " ".join(cell.ljust(width) for cell, width in zip(row, widths))
        lines.append("  {" + padded.rstrip().rstrip(",") + "}")
    return ",\n".join(lines)


def text(result):
    """The file of a result: each of its members has a line, or its parts have one each."""
    members = []
    for name, value in four_digits(result).items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            body = f"[\n{table(value)}\n ]"
        elif isinstance(value, dict) and value and all(
                part is None or isinstance(part, dict) for part in value.values()):
            parts = (f"  {dump(key)}: {dump(part)}" for key, part in value.items())
            body = "{\n" + ",\n".join(parts) + "\n }"
        else:
            body = dump(value)
        members.append(f" {dump(name)}: {body}")
    return "{\n" + ",\n".join(members) + "\n}\n"
