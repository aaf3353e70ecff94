"""Docstrings of public functions and classes -> docs/reference.md; nothing is imported.

python scripts/reference.py [--check]     with --check: exit code 1 where the file is out of date
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
# In the order of the flow, the words that pass between stages first.
FOLDERS = (
    "contracts",
    "stickers",
    "models",
    "distill",
    "distill/few",
    "distill/shrink",
    "quantize",
    "export",
    "export/rewrites",
    "export/sources",
    "runtimes",
    "runtimes/mil",
    "benchmarks",
    "minuet",
    "minuet/commands",
)
HEAD = """# Reference

Made from the docstrings by `python scripts/reference.py`; do not edit.
Every public function and class, with the first sentence about it.
Shapes, units, errors and sources are in the code.
A name below `export/capture.py` is imported as `from minuet.export.capture import capture`.
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole reference."""
    contents = "\n".join(f"* [{name}](#{name.replace('/', '')})" for name in FOLDERS)
    return "\n".join([HEAD, contents, *(line for name in FOLDERS for line in folder(name)), ""])


def folder(name: str) -> Iterator[str]:
    """A folder's heading, its sentence, and its modules."""
    yield f"\n## {name}\n"
    yield summary(ast.parse((ROOT / name / "__init__.py").read_text(encoding="utf-8")))
    for path in sorted((ROOT / name).glob("*.py")):
        if not path.name.startswith("_"):
            yield from module(path)


def module(path: Path) -> Iterator[str]:
    """A module's sentence and its public names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(ROOT).as_posix()
    yield f"\n### [{where}](../{where})\n"
    yield summary(tree)
    lines = [line for node in tree.body for line in entry(node)]
    yield from ["", *lines] if lines else []


def entry(node: ast.stmt) -> Iterator[str]:
    """A public function, or a public class with its fields and methods; else nothing."""
    if isinstance(node, Function) and is_public(node.name):
        yield f"* `{call(node)}`{told(node)}"
    if isinstance(node, ast.ClassDef) and is_public(node.name):
        yield f"* `{head(node)}`{told(node)}"
        for part in node.body:
            if isinstance(part, Function) and is_public(part.name) and ast.get_docstring(part):
                yield f"  * `.{call(part)}`{told(part)}"


def is_public(name: str) -> bool:
    """Whether a name does not begin with an underscore."""
    return not name.startswith("_")


def head(node: ast.ClassDef) -> str:
    """A class as it is made: its fields, or what its __init__ takes; or what it is."""
    made = next((p for p in node.body if isinstance(p, Function) and p.name == "__init__"), None)
    if made:
        return f"class {node.name}({arguments(made)})"
    fields = [
        p for p in node.body if isinstance(p, ast.AnnAssign) and is_public(ast.unparse(p.target))
    ]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    told_fields = ", ".join(map(field, fields))
    return f"class {node.name}({told_fields or bases})".removesuffix("()")


def field(node: ast.AnnAssign) -> str:
    """A dataclass field with its type and its default."""
    default = ""
    if node.value:
        text = ast.unparse(node.value)
        default = " = ..." if text.startswith("field(") else f" = {text}"
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}"


def call(node: Function) -> str:
    """A function with its arguments and its result; a property as a name."""
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    if marks & {"property", "cached_property"}:
        return f"{node.name}{result}"
    return f"{node.name}({arguments(node)}){result}"


def arguments(node: Function) -> str:
    """The arguments in source form, without self and without what a command line adds."""
    for argument in (*node.args.args, *node.args.kwonlyargs):
        note = argument.annotation
        if isinstance(note, ast.Subscript) and ast.unparse(note.value) == "Annotated":
            argument.annotation = note.slice.elts[0] if isinstance(note.slice, ast.Tuple) else note
    return re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))


def told(node: Function | ast.ClassDef) -> str:
    """ ": " and the first sentences about a name; "" where there are none."""
    text = summary(node)
    return f": {text}" if text else ""


def summary(node: ast.Module | Function | ast.ClassDef) -> str:
    """A docstring's first paragraph in one line, safe in Markdown."""
    text = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return re.sub(r"([<*])", r"\\\1", " ".join(text.split()))


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == made
        print("up to date" if same else f"{PAGE}: out of date; run python scripts/reference.py")
        return 0 if same else 1
    PAGE.write_text(made, encoding="utf-8")
    print(f"{PAGE}: {made.count(chr(10))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
