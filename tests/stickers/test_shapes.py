"""Outlines against what geometry says of them."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from minuet.stickers import shapes


def area(points: NDArray[np.float64]) -> float:
    """Shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def test_an_ellipse_has_the_area_of_an_ellipse():
    outline = shapes.ellipse(0.3, -0.2, 0.5, 0.25, degrees=30.0, count=400)
    assert area(outline) == pytest.approx(math.pi * 0.5 * 0.25, rel=1e-3)
    np.testing.assert_allclose(outline.mean(axis=0), (0.3, -0.2), atol=1e-12)


def test_a_superellipse_obeys_its_equation():
    outline = shapes.superellipse(0.0, 0.0, 0.6, 0.4, 3.5)
    np.testing.assert_allclose((np.abs(outline) / (0.6, 0.4)) ** 3.5 @ (1.0, 1.0), 1.0, rtol=1e-9)


def test_a_blob_passes_through_every_given_point():
    knots = np.array([(0.0, -1.0), (0.8, 0.1), (0.1, 0.9), (-0.7, 0.2), (-0.4, -0.6)])
    np.testing.assert_allclose(shapes.blob(knots, 6)[::6], knots, atol=1e-12)


def test_a_curve_begins_and_ends_where_told():
    knots = [(0.0, 0.0), (0.5, 0.3), (0.9, -0.4)]
    path = shapes.curve(knots, 5)
    np.testing.assert_allclose(path[::5], knots, atol=1e-12)


def test_a_curve_through_points_on_a_line_stays_on_it():
    path = shapes.curve([(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 2.0)])
    np.testing.assert_allclose(path[:, 1], 2.0 * path[:, 0], atol=1e-12)


def test_a_capsule_keeps_its_radius_from_its_axis():
    outline = shapes.capsule((-0.4, 0.1), (0.4, 0.1), 0.2)
    nearest = np.stack([np.clip(outline[:, 0], -0.4, 0.4), np.full(len(outline), 0.1)], axis=1)
    np.testing.assert_allclose(np.linalg.norm(outline - nearest, axis=1), 0.2, atol=1e-12)


def test_a_capsule_does_not_cross_itself():
    outline = shapes.capsule((-0.4, 0.0), (0.4, 0.0), 0.2, count=200)
    assert area(outline) == pytest.approx(0.8 * 0.4 + math.pi * 0.04, rel=1e-3)


def test_a_star_points_up_and_turns_with_equal_tips():
    outline = shapes.star(0.1, 0.2, 0.5, 0.2, 7)
    radii = np.linalg.norm(outline - (0.1, 0.2), axis=1)
    np.testing.assert_allclose(radii, np.tile([0.5, 0.2], 7), atol=1e-12)
    np.testing.assert_allclose(outline[0], (0.1, -0.3), atol=1e-12)


def test_a_heart_is_symmetric_and_its_tip_is_below():
    outline = shapes.heart(0.0, 0.0, 0.5)
    lowest = outline[outline[:, 1].argmax()]
    assert lowest[0] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(outline[1:], shapes.mirrored(outline[1:])[::-1], atol=1e-9)


def test_rounding_stays_inside_and_doubles_the_points():
    square = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    outline = shapes.rounded(square, 3)
    assert outline.shape == (32, 2)
    assert np.abs(outline).max() <= 1.0
    assert area(outline) < 4.0


def test_turning_is_clockwise_as_seen():
    np.testing.assert_allclose(shapes.turned([(1.0, 0.0)], 90.0), [(0.0, 1.0)], atol=1e-12)
    np.testing.assert_allclose(shapes.turned([(2.0, 1.0)], 90.0, (1.0, 1.0)), [(1.0, 2.0)])


def test_both_sides_mirrors_all_but_the_points_on_the_axis():
    outline = shapes.both_sides([(0.0, -1.0), (0.5, 0.0), (0.0, 1.0)])
    np.testing.assert_array_equal(outline, [(0.0, -1.0), (0.5, 0.0), (0.0, 1.0), (-0.5, 0.0)])


def test_merged_circles_lie_on_a_circle_and_inside_none():
    circles = [(-0.3, 0.0, 0.4), (0.3, 0.0, 0.4), (0.0, 0.2, 0.4)]
    outline = shapes.merged_circles(circles, (0.0, 0.0))
    gaps = np.stack([np.hypot(outline[:, 0] - x, outline[:, 1] - y) - r for x, y, r in circles])
    np.testing.assert_allclose(gaps.min(axis=0), 0.0, atol=1e-9)


def test_an_outline_may_be_changed_without_changing_the_next_one():
    first = shapes.star(0.0, 0.0, 1.0, 0.5)
    first *= 0.0
    assert np.abs(shapes.star(0.0, 0.0, 1.0, 0.5)).max() == pytest.approx(1.0)
