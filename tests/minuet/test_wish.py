"""What was asked is kept in a manifest, and what a stranger wrote there is bounded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minuet.contracts.artifact import Manifest
from minuet.contracts.errors import DamagedError, RequestError
from minuet.export.bundle import load_bundle
from minuet.wish import ASKED, Wish, asked_of

OLD = Path(__file__).parents[1] / "export/golden"
ASK = Wish(
    size=(64, 96),
    frames=9,
    steps=3,
    guidance=1.5,
    components=("unet", "vae_decoder"),
    fused=True,
    seed=7,
    more={"max_sequence_length": 16, "negative_prompt": "dark", "sigmas": [1.0, 0.25]},
)


def manifest(asked: Any) -> Manifest:
    """A real bundle's, in which something was asked for."""
    return replace(load_bundle(OLD / "schema-2"), sampler={ASKED: asked})


def test_what_was_asked_comes_back_from_json() -> None:
    assert asked_of(manifest(json.loads(json.dumps(ASK.to_json())))) == ASK
    assert Wish().to_json() == {} and asked_of(manifest({})) == Wish()


@pytest.mark.parametrize("schema", ["schema-1", "schema-2"])
def test_bundles_from_before_it_was_kept_asked_for_nothing(schema: str) -> None:
    assert asked_of(load_bundle(OLD / schema)) == Wish()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("everything", "sampler.asked is 'everything', not a mapping"),
        ({"local_code": True}, "unknown field 'local_code'"),
        ({"frames": 10**9}, "a video has 1 to 1024 frames, not 1000000000"),
        ({"steps": 0}, "a pipeline takes 1 to 1000 steps, not 0"),
        ({"steps": True}, "sampler.asked.steps is True, not a whole number"),
        ({"size": [64]}, "a size is height and width, not 1 numbers"),
        ({"size": [64, 10**6]}, "a side is 1 to 8192 px"),
        ({"fused": "yes"}, "sampler.asked.fused is 'yes', not true or false"),
        ({"guidance": float("inf")}, "sampler.asked.guidance is inf, not a number"),
        ({"seed": -1}, "--seed is 0 or more, not -1"),
        ({"more": {"num_images_per_prompt": 10**8}}, "numbers up to 10000, not 100000000"),
        ({"more": {"prompt": "x" * 1001}}, "texts up to 1000 letters, not 1001"),
        ({"more": {"sigmas": [0] * 300}}, "256 values at most"),
        ({"more": {"a": {"b": [[["x" * 2000]]]}}}, "texts up to 1000 letters"),
        ({"more": {"a b": 1}}, "got the name 'a b'"),
    ],
)
def test_a_value_that_no_export_wrote_is_one_clear_message(asked: Any, said: str) -> None:
    with pytest.raises(DamagedError) as refused:
        asked_of(manifest(asked))
    told = str(refused.value)
    assert said in told and "damaged manifest" in told and told.endswith("export again.")
    assert "\n" not in told and len(told) < 300


def test_what_could_not_be_kept_is_refused_when_it_is_asked() -> None:
    with pytest.raises(RequestError, match="--set takes numbers up to 10000"):
        Wish(more={"width": 1e9})
