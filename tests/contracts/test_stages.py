import pytest

from minuet.contracts.errors import DamagedError
from minuet.contracts.stages import OTHER, pack, stage_of, unpack

TABLE = {"conv2d": "read", "conv2d_3": "denoise.0", "val_7": "read", "softmax": "compose"}


def test_a_table_of_stages_survives_the_file() -> None:
    assert unpack(pack(TABLE), "here") == TABLE
    assert list(dict.fromkeys(unpack(pack(TABLE), "here").values())) == [
        "read",
        "denoise.0",
        "compose",
    ]


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": ["b"]}', '{"a": 1}', "{", "[" * 100_000, "null"]
)
def test_a_table_that_is_none_is_damage(text: str) -> None:
    with pytest.raises(DamagedError, match=r"m\.onnx: its table of stages is damaged"):
        unpack(text, "m.onnx")


@pytest.mark.parametrize(
    ("operator", "stage"),
    [
        ("conv2d", "read"),
        ("node_conv2d_3", "denoise.0"),
        ("conv2d_3_nchwc", "denoise.0"),
        ("node_softmax/MatmulTransposeFusion/", "compose"),
        ("fused node_val_7", "read"),
        ("node_softmax_acdb_abcd_node_conv2d_3", "compose"),
        ("node_conv2d_3_token_45", "denoise.0"),  # in int8
        ("InsertedPrecisionFreeCast_conv2d_3_nchwc", "denoise.0"),  # in float16
        ("conv2d_4_nchwc", OTHER),  # not conv2d's
        ("ReorderOutput_token_12", OTHER),
    ],
)
def test_an_operator_is_known_under_the_names_that_runtimes_give_it(
    operator: str, stage: str
) -> None:
    assert stage_of(operator, TABLE) == stage
