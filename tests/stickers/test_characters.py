"""Every character, dressed in everything, is a sound rig inside the safe area."""

import hashlib

import numpy as np
import pytest

from minuet.contracts.errors import RequestError
from minuet.stickers.accessories import ACCESSORIES, HELD
from minuet.stickers.characters import (
    CHARACTERS,
    DEFAULT_COLOR,
    LIMBLESS,
    build,
    build_thing,
)
from minuet.stickers.faces import EXPRESSIONS
from minuet.stickers.palette import COLORS, INK, STYLES, luminance, paint
from minuet.stickers.rig import NODES, Rig

BORDER = 0.07  # each side
SAFE = 0.80
LIMBS = {"arm_left", "arm_right", "leg_left", "leg_right"}


def reach(rig: Rig) -> float:
    """How far from the middle the art comes, borders and outlines included."""
    margins = [0.5 * p.width + (BORDER if p.silhouette else 0.0) for p in rig.parts]
    extents = [float(np.abs(part.points).max()) for part in rig.parts]
    return max(extent + margin for extent, margin in zip(extents, margins, strict=True))


def digest(rig: Rig) -> str:
    """A hash of what is drawn, to a thousandth of the canvas."""
    text = "\n".join(
        f"{part.node} {part.kind} {part.z:.3f} {[round(c) for c in part.color]} "
        + " ".join(f"{value:.3f}" for value in (part.points + 0.0).ravel())
        for part in rig.parts
    )
    return hashlib.sha256(text.replace("-0.000", "0.000").encode()).hexdigest()[:16]


def check(rig: Rig) -> None:
    assert set(rig.pivots) == set(NODES)
    assert {part.node for part in rig.parts} <= set(NODES)
    assert all(np.isfinite(part.points).all() for part in rig.parts)
    assert all(part.kind in ("fill", "line", "ring") for part in rig.parts)
    heights = [part.z for part in rig.parts]
    assert heights == sorted(heights)
    assert reach(rig) <= SAFE + 1e-9


def test_there_are_the_promised_names():
    assert len(CHARACTERS) == 33
    assert len(COLORS) == 12
    assert len(EXPRESSIONS) == 8
    assert ACCESSORIES[0] == "none"
    assert len(ACCESSORIES) >= 12
    assert set(CHARACTERS) >= LIMBLESS
    assert set(DEFAULT_COLOR.values()) <= set(COLORS)


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_character_with_any_accessory_is_sound_and_stays_in_the_safe_area(character):
    for accessory in ACCESSORIES:
        check(build(character, DEFAULT_COLOR[character], "happy", accessory))


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_character_with_any_expression_is_sound(character):
    for expression, color in zip(EXPRESSIONS, COLORS, strict=False):
        check(build(character, color, expression))


@pytest.mark.parametrize("character", CHARACTERS)
def test_limbs_are_there_exactly_when_promised(character):
    rig = build(character, DEFAULT_COLOR[character])
    drawn = {part.node for part in rig.parts if part.silhouette}
    assert (drawn >= LIMBS) == (character not in LIMBLESS)
    assert bool(drawn & LIMBS) == (character not in LIMBLESS)
    assert any(part.node == "eyes" for part in rig.parts)


@pytest.mark.parametrize("character", sorted(set(CHARACTERS) - LIMBLESS))
def test_arms_hang_at_their_own_side(character):
    rig = build(character, DEFAULT_COLOR[character])
    for node, side in (("arm_left", -1.0), ("arm_right", 1.0)):
        x, y = next(part for part in rig.parts if part.node == node).points.mean(axis=0)
        assert side * x > 0.0
        assert y > rig.pivots[node][1]


@pytest.mark.parametrize("accessory", HELD)
def test_what_is_held_moves_with_the_right_arm(accessory):
    bare = sum(part.node == "arm_right" for part in build("bear", "brown").parts)
    held = build("bear", "brown", "happy", accessory)
    assert sum(part.node == "arm_right" for part in held.parts) > bare


def test_a_hat_takes_the_place_of_a_stem():
    bare = build("robot", "grey")
    crowned = build("robot", "grey", "happy", "crown")
    lamps = [sum(p.node == "head" and p.z < 5.0 for p in rig.parts) for rig in (bare, crowned)]
    assert lamps == [2, 0]


def test_the_same_names_give_the_same_art():
    first = build("fox", "orange", "joy", "scarf")
    build.cache_clear()
    assert digest(build("fox", "orange", "joy", "scarf")) == digest(first)
    assert digest(first) != digest(build("fox", "orange", "joy", "bow"))


def test_the_bear_is_drawn_as_it_was():
    assert digest(build("bear", "brown")) == "3ee211aec16f9b86"


def test_built_art_cannot_be_changed_by_accident():
    part = build("cat", "orange").parts[0]
    with pytest.raises(ValueError, match="read-only"):
        part.points[0] = 0.0


@pytest.mark.parametrize("wrong", [("dragon", "red"), ("cat", "mauve")])
def test_unknown_names_are_refused_with_the_known_ones(wrong):
    with pytest.raises(RequestError, match=r"cat|red"):
        build(*wrong)


def test_random_things_are_sound_and_differ():
    digests = set()
    for seed in range(80):
        rig = build_thing(seed)
        check(rig)
        digests.add(digest(rig))
    assert len(digests) == 80
    assert digest(build_thing(7)) == digest(build_thing(7))


def test_some_random_things_have_faces_and_some_have_arms():
    nodes = [{part.node for part in build_thing(seed).parts} for seed in range(60)]
    assert 20 < sum("eyes" in found for found in nodes) < 55
    assert 8 < sum("arm_left" in found for found in nodes) < 45


@pytest.mark.parametrize("style", STYLES)
def test_every_style_paints_every_part(style):
    for part in build("lion", "yellow", "joy", "crown").parts:
        look = paint(part, style)
        assert all(0.0 <= channel <= 255.0 for channel in look.fill)
        assert (look.outline is not None) == (style in ("outline", "pastel") and part.silhouette)
        assert (look.gradient is not None) == (style == "gradient" and part.shade)


def test_pastel_is_paler_and_an_outline_is_ink():
    body = next(p for p in build("cat", "purple").parts if p.node == "body")
    assert luminance(paint(body, "pastel").fill) > luminance(body.color) + 20.0
    assert paint(body, "outline").outline == INK


def test_white_limbs_are_parted_from_a_white_body():
    rig = build("rabbit", "white")
    edges = [p for p in rig.parts if p.kind == "ring" and p.node.startswith("arm")]
    assert len(edges) == 2
    assert all(luminance(edge.color) < luminance(COLORS["white"]) - 12.0 for edge in edges)
