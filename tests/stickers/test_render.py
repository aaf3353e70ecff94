"""Both backends draw the same pictures: white border, straight alpha, any size in range."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from minuet.contracts.errors import MissingBackendError, RequestError
from minuet.stickers import render, world
from minuet.stickers.rig import BORDER, NODES

SKIA = importlib.util.find_spec("skia") is not None
BACKENDS = ["pillow", pytest.param("skia", marks=pytest.mark.skipif(not SKIA, reason="no skia"))]
SPECS = [world.sample(2, index) for index in range(6)]


def premultiplied(frames):
    frames = frames.astype(np.float64) / 255
    return np.concatenate([frames[..., :3] * frames[..., 3:], frames[..., 3:]], -1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_are_straight_alpha_and_black_where_nothing_is(backend):
    bordered = world.sample(2, 0, "test")
    frames = world.render_clip(bordered, 64, backend).frames_THWC
    assert frames.shape == (8, 64, 64, 4) and frames.dtype == np.uint8
    assert (frames[frames[..., 3] == 0] == 0).all()
    edge = frames[(frames[..., 3] > 40) & (frames[..., 3] < 215)]
    assert np.median(edge[:, :3]) > 240  # a half transparent border pixel is white, not grey


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rig_without_a_border_is_its_own_art_alone(backend):
    rig = world.rig_of(world.sample(2, 0, "test"))
    rest, draw = np.eye(3)[None, None].repeat(len(NODES), 1), render.backend(backend)
    bare, bordered = (
        draw.draw(replace(rig, border=border), "flat", rest, 96)[0] for border in (0.0, BORDER)
    )
    ours = draw.number(replace(rig, border=0.0), rest, 96)[0] >= 0
    assert (bare[..., 3] > 127).sum() < 0.9 * (bordered[..., 3] > 127).sum()
    assert ((bare[..., 3] > 127) == ours).mean() > 0.99
    assert not (bare[..., 3] > bordered[..., 3]).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [64, 100, 257])
def test_any_size_in_range_is_drawn(backend, size):
    assert world.render_static(SPECS[1], size, backend).shape == (size, size, 4)


@pytest.mark.skipif(not SKIA, reason="no skia")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.character}-{spec.style}")
def test_pillow_and_skia_draw_the_same_picture(spec):
    ours, theirs = (world.render_clip(spec, 96, name).frames_THWC for name in render.BACKENDS)
    difference = np.abs(premultiplied(ours) - premultiplied(theirs))
    assert difference.mean() < 0.012
    assert np.quantile(difference, 0.97) < 0.12


@pytest.mark.skipif(not SKIA, reason="no skia")
def test_auto_takes_skia_where_it_is_installed():
    assert type(render.backend("auto")).__name__ == "SkiaBackend"


def test_pillow_needs_nothing_but_pillow(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert type(render.backend("auto")).__name__ == "PillowBackend"
    with pytest.raises(MissingBackendError, match="skia-python is not installed"):
        render.backend("skia")


@pytest.mark.parametrize("size", [0, 63, 513])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(RequestError, match=f"64 to 512 pixels, not at {size}"):
        world.render_clip(SPECS[0], size)


def test_an_unknown_backend_is_refused():
    with pytest.raises(RequestError, match="unknown backend 'cairo'"):
        render.backend("cairo")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_border_surrounds_the_art(backend):
    still = world.render_static(SPECS[2], 128, backend)
    solid = still[..., 3] > 127
    inner = solid.copy()
    for axis in (0, 1):
        inner &= np.roll(solid, 1, axis) & np.roll(solid, -1, axis)
    rim = still[solid & ~inner][:, :3]
    assert (rim.min(1) > 200).mean() > 0.9
