"""The documents say what is so: their code runs, their tables are the code's, their links lead."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minuet.__main__ import VERBS, load
from minuet.benchmarks import degrade, quality, tolerances
from minuet.benchmarks.budget import budget_of, find_budget
from minuet.contracts.recipe import recipe_from
from minuet.stickers import accessories, captions, faces, motions, palette, world
from minuet.stickers.characters import CHARACTERS
from tests.minuet.playable import write_bundle

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CAPTIONS = (
    "a red rabbit waving wildly with its left hand",
    "A Party-Hat rabbit holding an ICE CREAM, spinning counter-clockwise! zzz",
    "anti clockwise counterclockwise anticlockwise bow tie bowtie bows",
    "naïve café 猫 unredcat cats' cat's",
    " ".join(["happy"] * 40),
    "",
)


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def code(name: str, language: str, at: int = 0) -> str:
    """A block of a language on a page, the first if nothing is said."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL)
    assert found, f"docs/{name} has no block of {language}"
    block: str = found[at]
    return block


def tables(name: str) -> list[list[list[str]]]:
    """Every table of a page as rows of cells, without the rules under the heads."""
    found = re.findall(r"(?:^\|.*\n)+", text_of(name), re.MULTILINE)
    rows = [[line.strip("|").split("|") for line in block.splitlines()] for block in found]
    return [[[cell.strip() for cell in row] for row in (t[0], *t[2:])] for t in rows]


def table(name: str, *head: str) -> list[list[str]]:
    """The rows of the table whose head begins like this."""
    return next(t[1:] for t in tables(name) if t[0][: len(head)] == list(head))


def commands() -> list[str]:
    """Everything that begins with `minuet ` on the pages: a line of a shell, or a code span."""
    found: dict[str, None] = {}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        shell = "\n".join(re.findall(r"^```(?:sh|yaml)\n(.*?)^```$", text, re.M | re.S))
        lines = re.findall(r"^(?:- run:)? *(minuet [^#\n]*)", shell, re.M)
        found |= dict.fromkeys(lines + re.findall(r"`(minuet [^`]+)`", FENCE.sub("", text)))
    return [command.strip() for command in found]


# --- code --------------------------------------------------------------------------------------


def test_the_python_call_makes_what_animate_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minuet.player import open_player

    write_bundle(tmp_path / "bundle", size=64)
    still = world.render_static(world.sample(3, 1), 64, "pillow")
    Image.fromarray(still).save(tmp_path / "sticker.png")
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(compile(code("integrate.md", "python"), "integrate.md", "exec"), made)
    with open_player(tmp_path / "bundle") as player:
        frames, _ = player.play(player.inputs(still, CAPTIONS[0], 7))
    assert np.array_equal(np.stack([np.asarray(one) for one in made["frames"]]), frames)
    with Image.open(tmp_path / "moving.webp") as moving:
        assert moving.info["loop"] == 0 and moving.size == (64, 64)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_tokens_by_hand_are_the_worlds_and_the_librarys(
    caption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer

    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "tokenizer.json").write_text(captions.tokenizer_json())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code("integrate.md", "python").partition("\n\n\ndef animate")[0], names)
    found = names["tokens"](caption)
    assert found.dtype == np.int32 and found.shape == (1, 16)
    assert found[0].tolist() == captions.encode(caption).tolist()
    assert found[0].tolist() == Tokenizer.from_str(captions.tokenizer_json()).encode(caption).ids


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not here")
def test_tokens_in_javascript_are_the_same(tmp_path: Path) -> None:
    function = re.search(r"^export (function tokens.*?^})", code("integrate.md", "js"), re.M | re.S)
    assert function
    told = f"const rules = {captions.tokenizer_json()};\n{function[1]}\n"
    ask = f"console.log(JSON.stringify({json.dumps(CAPTIONS)}.map((c) => [...tokens(c)])));"
    (tmp_path / "tokens.mjs").write_text(told + ask, encoding="utf-8")
    done = subprocess.run(["node", "tokens.mjs"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout) == [captions.encode(caption).tolist() for caption in CAPTIONS]


def test_a_module_of_ones_own_becomes_a_bundle_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minuet.commands.verify import verify

    monkeypatch.chdir(tmp_path)
    exec(compile(code("export.md", "python", -1), "export.md", "exec"), {})
    verify(tmp_path / "fade", threads=1, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "pass" and told["cases"] == 1


def test_the_function_that_makes_a_module_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minuet.export.sources.factory import part_from

    monkeypatch.chdir(tmp_path)
    (tmp_path / "documented_nets.py").write_text(code("export.md", "python"), encoding="utf-8")
    part, _ = part_from("documented_nets:make", here=True)
    assert len(part.cases) == 2


def test_the_worlds_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code("world.md", "python"), "world.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("(8, 128, 128, 4)") and second.endswith("() (256, 256, 4)")


def test_the_recipe_is_one() -> None:
    import yaml

    recipe = recipe_from(yaml.safe_load(code("distill.md", "yaml")), "distill.md")
    assert set(recipe.teachers) == {"lively", "careful"}


def test_the_budget_is_one() -> None:
    assert len(budget_of(tomllib.loads(code("gate.md", "toml"))).limits) == 3
    for name in re.findall(r"`(laptop-[\w-]+)`", text_of("gate.md")):
        assert find_budget(name).exists()


@pytest.mark.parametrize("command", commands())
def test_a_command_is_one_that_minuet_knows(command: str) -> None:
    verb = command.split()[1]
    assert verb in VERBS or verb == "RECIPE"
    asked = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", command))
    if asked:
        known = {name for option in load(verb).params for name in option.opts}
        assert asked <= known, f"{verb} has {sorted(known)}"


@pytest.mark.parametrize(
    ("page", "verbs"),
    [
        ("export.md", ("export", "export", "export")),
        ("quantize.md", ("quantize",)),
        ("gate.md", ("bench",)),
    ],
)
def test_tables_of_options_name_real_ones(page: str, verbs: tuple[str, ...]) -> None:
    found = [rows[1:] for rows in tables(page) if rows[0][0] == "option"]
    for rows, verb in zip(found, verbs, strict=True):
        asked = {word for row in rows for word in re.findall(r"(--[a-z-]+)", row[0])}
        known = {name for option in load(verb).params for name in option.opts}
        assert len(asked) >= 3 and asked <= known


# --- tables ------------------------------------------------------------------------------------


def test_the_tolerances_are_the_codes() -> None:
    def asked(arithmetic: str, metric: str) -> str:
        depths = tolerances.DEPTHS
        return ", ".join(f"{tolerances.allowed(arithmetic, metric, d).db:.1f}" for d in depths)

    rows = table("export.md", "computed in", "frames, dB")
    assert rows == [
        [name, asked(name, tolerances.PSNR), asked(name, tolerances.SNR), reason]
        for name, reason in tolerances.REASONS.items()
    ]


def test_the_targets_are_the_exporters() -> None:
    from minuet.export.table import EXPORTERS

    rows = {row[0]: row[2] for row in table("export.md", "target", "file")}
    assert rows == {name: ", ".join(row.precisions) for name, row in EXPORTERS.items()}


def test_the_schemes_are_the_codes() -> None:
    from minuet.quantize.schemes import SCHEMES

    assert table("quantize.md", "scheme", "weights") == [
        [
            name,
            row.weights,
            row.activations,
            "; ".join(f"{target}: {good}" for target, good in row.targets.items()),
            ", ".join(row.promises),
        ]
        for name, row in SCHEMES.items()
    ]


def test_every_field_of_a_recipe_is_told() -> None:
    from minuet.contracts import recipe

    said = text_of("distill.md")
    kinds = [kind for kind in vars(recipe).values() if is_dataclass(kind)]
    assert len(kinds) > 8
    for kind in kinds:
        names = {field.name for field in fields(kind)} - {"schema"}
        assert not {name for name in names if not re.search(rf"\b{name}\b", said)}


def test_the_losses_are_the_codes() -> None:
    from minuet.distill.losses import Weights

    found = {row[0]: float(row[1]) for row in table("distill.md", "loss")}
    assert found == asdict(Weights())


def test_the_metrics_are_the_codes() -> None:
    found = {row[0]: row[2] for row in table("quality.md", "metric")}
    assert found == {name: metric.meaning for name, metric in quality.METRICS.items()}


def test_the_degradations_and_who_sees_them_are_the_tests() -> None:
    rows = {row[0]: row[2] for row in table("quality.md", "spoilt clip")}
    assert set(rows) == set(degrade.DEGRADATIONS) - {"truth"}
    tested = (ROOT / "tests/benchmarks/test_quality.py").read_text(encoding="utf-8")
    for name, metric in re.findall(r'^    \("([\w ]+)", "(\w+)", ', tested, re.MULTILINE):
        assert metric in rows[name], f"{name} is seen by {metric}"


def test_the_world_is_as_large_as_it_is_said_to_be() -> None:
    kinds = len(captions.VOCABULARY) - 2, captions.VOCABULARY_SIZE - 2
    held_out = len(world.pairs("test"))
    said = text_of("world.md")
    for claim in (
        f"{len(CHARACTERS)} characters, in {len(palette.COLORS)} colours, "
        f"{len(palette.STYLES)} styles and {len(faces.EXPRESSIONS)} expressions, "
        f"with {len(accessories.ACCESSORIES) - 1} accessories",
        f"{len(motions.MOTIONS)} motions of eight frames, in {len(world.AMPLITUDES)} strengths; "
        f"{len(motions.SIDED)} of them",
        f"{kinds[0]} words, which stand for {kinds[1]} meanings",
        f"{held_out} of {held_out + len(world.pairs('train'))} pairs",
        f"a left and a right form: {', '.join(motions.SIDED)}.",
        f"About the middle: {', '.join(motions.CENTRED)}.",
    ):
        assert claim in said


def test_words_that_choose_are_words_that_are_known() -> None:
    for row in table("integrate.md", "to choose"):
        for word in re.findall(r"`(\w+)`", row[1]):
            assert captions.encode(word)[0] > 1


# --- pages -------------------------------------------------------------------------------------


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["page"]()
    assert text_of("reference.md") == made, "run python scripts/reference.py"


def test_every_link_leads_to_a_file() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_anchor_is_a_heading(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", path.read_text("utf-8")):
        page = (path.parent / target if target else path).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
        assert anchor in slugs


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_line_of_prose_is_one_sentence(path: Path) -> None:
    for line in FENCE.sub("", path.read_text(encoding="utf-8")).splitlines():
        if not line.startswith(("|", "#")):
            assert not re.search(r"[a-z`)\d][.!?] +[A-Z`i]", line), line


def test_the_pictures_are_there_and_small() -> None:
    limit = runpy.run_path(str(ROOT / "scripts" / "contact_sheet.py"))["MAX_BYTES"]
    names = {path.name for path in (ROOT / "docs" / "img").iterdir()}
    assert {"characters.webp", "motions.webp", "moving.webp"} <= names
    for name in ("characters.webp", "motions.webp", "moving.webp"):
        assert 10_000 < (ROOT / "docs" / "img" / name).stat().st_size <= limit


def test_the_sheets_show_everyone_and_every_motion() -> None:
    sheet = runpy.run_path(str(ROOT / "scripts" / "contact_sheet.py"))
    assert list(sheet["DANCERS"]) == list(motions.MOTIONS)
    assert set(sheet["DRESSED"]) <= set(CHARACTERS)
    cells = list(sheet["everyone"](64))
    assert [word for _, word in cells[: len(CHARACTERS)]] == [
        "ice cream" if name == "icecream" else name for name in CHARACTERS
    ]
    assert len(cells) % 9 == 0, "a full last row"
    assert all(drawing.size == (64, 64) and drawing.getbbox() for drawing, _ in cells)
