"""The layout is a promise: these tests keep it."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {  # besides itself and third parties
    "contracts": set(),
    "shipped": set(),
    "models": {"contracts"},
    "stickers": {"contracts"},
    "distill": {"contracts", "models"},
    "quantize": {"contracts"},
    "export": {"contracts"},
    "runtimes": {"contracts"},
    "benchmarks": {"contracts", "models"},  # peers run the network itself
}
FOLDERS = tuple(MAY_IMPORT)
MAY_IMPORT["minuet"] = set(FOLDERS)
EVERYONE_MAY_IMPORT = "minuet.__version__"  # files say who wrote them
CONTRACTS_USE = sys.stdlib_module_names | {"numpy", "minuet"}
HEAVY = {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "coremltools", "executorch"}
MODULES = sorted(
    path
    for folder in MAY_IMPORT
    for path in (ROOT / folder).rglob("*.py")
    if not any(parent.is_symlink() for parent in path.parents)
)


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def imports_of(path: Path) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            whole = [f"minuet.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in (whole if module == "minuet" else [module])]
    return found


def folder_of(name: str) -> str:
    """The folder that an imported name lies in: "minuet.export.x" -> "export"."""
    second = name.split(".")[1] if "." in name else ""
    return second if second in FOLDERS else "minuet"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python that knows only what is installed: -I keeps the root off its path."""
    return subprocess.run(
        [sys.executable, "-I", "-c", *arguments], capture_output=True, text=True, check=False
    )


def test_every_package_on_disk_is_packed() -> None:
    on_disk = {"minuet"}
    for path in MODULES:
        parts = path.parent.relative_to(ROOT).parts
        if path.name == "__init__.py" and parts != ("minuet",):
            on_disk.add(".".join(parts if parts[0] == "minuet" else ("minuet", *parts)))
    assert set(setup_cfg()["options"]["packages"].split()) == on_disk


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_every_folder_with_code_is_a_package(folder: str) -> None:
    inside = {path.parent for path in MODULES if path.relative_to(ROOT).parts[0] == folder}
    assert inside and all((one / "__init__.py").exists() for one in inside)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_mapped_and_linked(folder: str) -> None:
    mapping = setup_cfg()["options"]["package_dir"].split("\n")
    assert f"minuet.{folder} = {folder}" in mapping
    link = ROOT / "minuet" / folder
    assert link.is_symlink() and link.resolve() == ROOT / folder, (
        f"type checkers find minuet.{folder} through this link: ln -s ../{folder} minuet/{folder}"
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    here = path.relative_to(ROOT).parts[0]
    for line, name in imports_of(path):
        assert not name.startswith("."), f"{path}:{line}: write the whole name, not {name}"
        head = name.partition(".")[0]
        assert head not in FOLDERS, f"{path}:{line}: write minuet.{name}"
        assert head != "tests", f"{path}:{line}: the tests are not installed"
        if head == "minuet" and folder_of(name) != here and name != EVERYONE_MAY_IMPORT:
            assert folder_of(name) in MAY_IMPORT[here], f"{path}:{line}: {here} may not know {name}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name == "contracts"], ids=name_of
)
def test_contracts_need_numpy_and_nothing_else(path: Path) -> None:
    used = {name.partition(".")[0] for _, name in imports_of(path)}
    assert used <= CONTRACTS_USE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_begins_with_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said and said.splitlines()[0].endswith((".", ";", ":", "?"))


def test_only_one_name_is_installed() -> None:
    top = importlib.metadata.distribution("minuet").read_text("top_level.txt")
    assert top is None or top.split() == ["minuet"]
    probe = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))"
    assert fresh(probe, *FOLDERS, "tests").returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        *("minuet", "minuet.__main__", "minuet.presets", "minuet.shipped"),
        *("minuet.contracts.artifact", "minuet.contracts.report", "minuet.benchmarks.gate"),
    ],
)
def test_import_needs_no_framework(name: str) -> None:
    done = fresh(f"import sys, {name}; print(*sorted({HEAVY} & set(sys.modules)))")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_constraints_pin_every_requirement_and_fit_it() -> None:
    from packaging.requirements import Requirement

    pins = dict(
        line.split("==")
        for line in (ROOT / "minuet/constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    config = setup_cfg()
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    for line in "\n".join(lines).split("\n"):
        if not line or line.startswith("minuet["):
            continue
        wanted = Requirement(line)
        if wanted.name in UNPINNED:
            continue
        assert wanted.name in pins, f"{wanted.name} has no tested version in constraints.txt"
        assert wanted.specifier.contains(pins[wanted.name]), f"{line}, yet {pins[wanted.name]}"


UNPINNED = {"build", "coverage", "onnxruntime-gpu"}  # change no result, or need a GPU to be tested


def test_all_means_every_extra_but_gpu_and_dev() -> None:
    extras = dict(setup_cfg()["options.extras_require"])
    named = re.findall(r"[\w]+", extras["all"].partition("[")[2])
    assert set(named) == set(extras) - {"all", "dev", "gpu"}


def test_the_shipped_folder_is_found_where_the_package_is() -> None:
    probe = "from minuet.shipped import folder; print(folder())"
    assert Path(fresh(probe).stdout.strip()).name == "shipped"
