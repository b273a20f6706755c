"""Writes the /// comments of C++ headers as a table {"Problem::reachable", R"doc(text)doc"}, ... for the Python module.

    python3 docstrings.py OUT HEADER...

It reads headers as clang-format writes them: a declaration starts at the indentation of its scope.
"""

import pathlib
import re
import sys

SCOPE = re.compile(r"(?:struct|class|enum class)\s+(\w+)[^;{]*\{")
FUNCTION = re.compile(r"([A-Za-z]\w*)\(")


def names_of(declaration: str) -> list[str]:
    """What a declaration declares: a function, or the fields of one line."""
    plain = declaration.split("//")[0]
    while re.search(r"<[^<>]*>", plain):
        plain = re.sub(r"<[^<>]*>", "", plain)
    function = FUNCTION.search(plain)
    if function and "=" not in plain[:function.start()]:
        return [function.group(1)]
    plain = re.sub(r"=[^,;]*", "", re.sub(r"\{[^{}]*\}", "", plain))
    return re.findall(r"(\w+)\s*(?=[,;])", plain)


def comments(header: str) -> dict[str, str]:
    """Comment by qualified name, without the namespace."""
    found: dict[str, list[str]] = {}
    scopes: list[tuple[str, int]] = []
    pending: list[str] = []
    last: list[str] = []
    for line in header.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        trailing = re.search(r"///< ?(.*)", line)
        if text.startswith("///") and not trailing:
            pending.append(re.sub(r"^/// ?", "", text))
            continue
        if trailing and text.startswith("///<"):
            for name in last:
                found[name].append(trailing.group(1))
            continue
        if scopes and text.startswith("};") and indent == scopes[-1][1]:
            scopes.pop()
        elif text and indent == (scopes[-1][1] + 2 if scopes else 0) and not text.startswith(("//", "#", "}")):
            prefix = "".join(f"{name}::" for name, _ in scopes)
            scope = SCOPE.match(text)
            last = [prefix + name for name in ([scope.group(1)] if scope else names_of(text))]
            for name in last:
                lines = found.setdefault(name, [])
                if not lines:  # of overloads, the first that says something
                    lines += pending
            if scope and "}" not in text:
                scopes.append((scope.group(1), indent))
        if trailing:
            for name in last:
                found[name].append(trailing.group(1))
        pending = []
    return {name: "\n".join(lines) for name, lines in found.items() if lines}


def main() -> None:
    table: dict[str, str] = {}
    for path in sys.argv[2:]:
        table.update(comments(pathlib.Path(path).read_text(encoding="utf-8")))
    rows = [f'{{"{name}", R"doc({text})doc"}},' for name, text in sorted(table.items())]
    pathlib.Path(sys.argv[1]).write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
