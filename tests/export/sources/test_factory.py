"""package.module:factory: what is named is run; what is not installed or no factory is refused."""

import sys
from pathlib import Path

import pytest

from minuet.contracts.errors import RequestError
from minuet.export.sources.factory import is_factory, part_from

CODE = """
import torch
from torch import nn

class Sum(nn.Module):
    def forward(self, left, right=None):
        return left + (0 if right is None else right)

def pair():
    one = torch.ones(1, 3)
    return Sum(), [{"left": one, "right": 2 * one}, {"left": 3 * one, "right": one}]

def single():
    return Sum(), torch.ones(2)

def positional():
    return Sum(), (torch.ones(2), torch.ones(2))

def nothing():
    return Sum(), []

def alone():
    return Sum()

def wrong():
    return Sum(), {"middle": torch.ones(1)}

def failing():
    raise ValueError("no such checkpoint")

def leaving():
    raise SystemExit(3)

def needing(path, size=2):
    return Sum(), torch.ones(2)

class Silent(nn.Module):
    def forward(self, left):
        return None

def silent():
    return Silent(), torch.ones(2)

def narrow():
    return Sum(), torch.ones(2, dtype=torch.bfloat16)

def complex():
    return Sum(), (torch.ones(2), torch.ones(2) * 1j)

def shapes():
    return Sum(), [torch.ones(1, 2), torch.ones(1, 3)]

def constants():
    return Sum(), [(torch.ones(2), 1), (torch.ones(2), 2)]

value = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the current folder that no other test has imported."""
    name = f"given_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return name


def test_examples_by_name_become_inputs_and_golden_cases(code: str) -> None:
    part, digest = part_from(f"{code}:pair", here=True)
    assert [spec.name for spec in part.signature.inputs] == ["left", "right"]
    assert [case.outputs["output"].tolist() for case in part.cases] == [[[3] * 3], [[4] * 3]]
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("factory", "inputs"), [("single", ["left"]), ("positional", ["left", "right"])]
)
def test_a_tensor_or_a_tuple_is_an_example_too(code: str, factory: str, inputs: list[str]) -> None:
    part, _ = part_from(f"{code}:{factory}", here=True)
    assert [spec.name for spec in part.signature.inputs] == inputs


def test_the_current_folder_is_not_looked_at_unasked(code: str) -> None:
    with pytest.raises(RequestError, match=r"no module .* is installed\. .* needs --local-code"):
        part_from(f"{code}:pair")
    assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("missing", "has no missing"),
        ("value", "is a int, not a function"),
        ("nothing", "gives no example"),
        ("alone", r"gives a Sum; a factory gives \(module, examples\)"),
        ("wrong", "could not be run on its example"),
        ("failing", "failed with ValueError: no such checkpoint. To see where: python -c 'import"),
        ("leaving", "failed with SystemExit: 3"),
        ("needing", "needs path; a factory takes nothing"),
        ("silent", "its module gives no tensors"),
        ("narrow", "its module takes bfloat16; golden cases hold float32, .*--precision"),
        ("complex", "its module takes complex64"),
        ("shapes", r"example 1 is left float32\[1, 2\], and example 2 is left float32\[1, 3\]"),
        ("constants", "example 1 is .*right 1, and example 2 is .*right 2"),
    ],
)
def test_what_no_factory_gives_is_refused(code: str, factory: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        part_from(f"{code}:{factory}", here=True)


@pytest.mark.parametrize("word", ["a.b:c", "a:b", "_a.b_1:c2"])
def test_the_form_is_module_and_name(word: str) -> None:
    assert is_factory(word)


@pytest.mark.parametrize("word", ["a.b", "a:b:c", "/a:b", "a:b()", "a..b:c", "models:a/b", ":a"])
def test_any_other_form_is_no_factory(word: str) -> None:
    assert not is_factory(word)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nowhere_at_all", "needs the module nowhere_at_all, which is not installed"),
        ("import torch; torch.nothing_of_the_sort", "could not be imported: AttributeError"),
        ("def (", "could not be imported: SyntaxError"),
        ("raise SystemExit", "could not be imported: SystemExit"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    name = f"broken_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=message):
        part_from(f"{name}:make", here=True)
