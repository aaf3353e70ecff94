"""Each hazard is found where it is planted, and not beside it."""

from pathlib import Path

import pytest

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.hazard import Hazard
from minuet.export.coreml_hazards import compute_units, hazards, insist_units
from tests.mlpackage import Op, Tensor, message, save, write

PICTURE: tuple[int | None, ...] = (1, 4, 4, 4)
X = Tensor(name="x", type="fp16", shape=PICTURE)


def planted(kind: str, shape: tuple[int | None, ...] = PICTURE, half: bool = True) -> Op:
    """One operation on x."""
    out = Tensor(name="planted", type="fp16" if half else "fp32", shape=shape)
    return Op(kind=kind, outputs=[out], inputs={"x": "x"})


def then(kind: str, source: str = "planted") -> Op:
    """Another one on its result."""
    out = Tensor(name=f"after_{kind}", type="fp16", shape=PICTURE)
    return Op(kind=kind, outputs=[out], inputs={"x": source})


def gather(rows: int) -> tuple[Tensor, list[Op]]:
    out = Tensor(name="planted", type="fp16", shape=(1, 8))
    table = Tensor(name="x", type="fp16", shape=(rows, 8))
    return table, [Op(kind="gather", outputs=[out], inputs={"x": "x", "indices": [0]})]


def resample(type_of_places: str) -> list[Op]:
    places = Tensor(name="places", type=type_of_places, shape=(1, 4, 4, 2))
    made = Op(kind="cast", outputs=[places], inputs={"x": "x"})
    out = Tensor(name="planted", type="fp16", shape=PICTURE)
    inputs = {"x": "x", "coordinates": "places"}
    return [made, Op(kind="resample", outputs=[out], inputs=inputs)]


CASES: dict[str, tuple[Tensor, list[Op], str]] = {
    "softplus": (X, [planted("softplus")], "softplus drops to 0"),
    "mish": (X, [planted("softplus"), then("tanh")], "mish is softplus"),
    "logsumexp": (X, [planted("reduce_log_sum_exp")], "sum of exponentials overflows"),
    "rank": (X, [planted("reshape", (1,) * 6)], "rank above 5"),
    "half coordinates": (X, resample("fp16"), "eighth of a pixel"),
    "resample": (X, resample("fp32"), "resampling is kept off"),
    "volume": (X, [planted("conv", (1, 4, 2, 3, 3))], "over three axes"),
    "scatter": (X, [planted("scatter")], "scatter is kept off"),
    "product": (X, [planted("reduce_prod")], "reduce_prod is kept off"),
    "far gather": (*gather(70_000), "70000 rows"),
    "long axis": (X, [planted("relu", (1, 1, 20_000))], "more than 16384"),
    "float32": (X, [planted("matmul", half=False)], "float32 work"),
    "size": (X, [planted("non_zero", (None, 4)), then("relu")], "known only when it runs"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_planted_hazard_is_found_at_its_place(name: str, tmp_path: Path) -> None:
    given, ops, what = CASES[name]
    (found,) = hazards(write(tmp_path, [given], ops, ["planted"]))
    assert what in found.what
    assert found.place == "planted"
    assert found.fix and found.source


SOUND: dict[str, tuple[Tensor, list[Op]]] = {
    "sigmoid": (X, [planted("sigmoid")]),
    "softplus in float32": (X, [planted("softplus", half=False)]),
    "logsumexp in float32": (X, [planted("reduce_log_sum_exp", half=False)]),
    "rank": (X, [planted("reshape", (1,) * 5)]),
    "picture": (X, [planted("conv")]),
    "sum": (X, [planted("reduce_sum")]),
    "near gather": gather(60_000),
    "axis": (X, [planted("relu", (1, 1, 16_384))]),
    "float16": (X, [planted("matmul")]),
    "float32 beside the work": (X, [planted("add", half=False)]),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_is_left_in_peace(name: str, tmp_path: Path) -> None:
    given, ops = SOUND[name]
    assert hazards(write(tmp_path, [given], ops, ["planted"])) == ()


@pytest.mark.parametrize(
    ("flexible", "what"), [("range", "all but the default"), ("enumerated", "reported to fail")]
)
def test_an_input_of_several_sizes_is_a_hazard(flexible: str, what: str, tmp_path: Path) -> None:
    model = message()
    model.mlProgram.functions["main"].opset = "CoreML8"
    kind = model.description.input.add(name="x").type.multiArrayType
    if flexible == "range":
        kind.shapeRange.sizeRanges.add(lowerBound=1, upperBound=4)
    else:
        kind.enumeratedShapes.shapes.add(shape=[1, 4])
    (found,) = hazards(save(tmp_path / "m.mlpackage", model))
    assert found.place == "x" and what in found.what and "function of its own" in found.fix


def test_sizes_that_only_follow_from_a_flexible_input_are_no_hazard(tmp_path: Path) -> None:
    free = Tensor(name="x", type="fp16", shape=(1, 4, None, None))
    ops = [planted("relu", (1, 4, None, None))]
    assert hazards(write(tmp_path, [free], ops, ["planted"])) == ()


def test_hazards_of_one_kind_are_counted(tmp_path: Path) -> None:
    ops = [planted("softplus"), then("softplus")]
    (found,) = hazards(write(tmp_path, [X], ops, ["planted"]))
    assert found.count == 2 and "planted and 1 more" in str(found)


def test_advice_counts_what_stays_off_the_engine() -> None:
    one = Hazard(place="p", op="conv", what="x kept off the Neural Engine", fix="", count=3)
    assert compute_units((one,), "fp16") == {"units": "all", "off_neural_engine": "conv x3"}
    assert compute_units((one,), "fp32")["units"] == "cpuAndGPU"
    assert compute_units((one,), "fp16", "cpuOnly")["units"] == "cpuOnly"


def test_units_are_refused_that_cannot_do_the_work() -> None:
    insist_units("cpuAndNeuralEngine", "fp16")
    with pytest.raises(RequestError, match="float16 only"):
        insist_units("cpuAndNeuralEngine", "fp32")
    with pytest.raises(RequestError, match="'gpu' are not known; choose from all"):
        insist_units("gpu", "fp16")


def test_a_damaged_model_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "Data/com.apple.CoreML/model.mlmodel"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(DamagedError, match="not a readable model"):
        hazards(tmp_path)


@pytest.mark.parametrize("kind", ["cond", "while_loop"])
def test_a_hazard_inside_a_block_is_found(kind: str, tmp_path: Path) -> None:
    inner = Tensor(name="turn", type="fp16", shape=PICTURE)
    block = ([inner], [Op(kind="softplus", outputs=[planted("relu").outputs[0]],
                          inputs={"x": "turn"})], ["planted"])  # fmt: skip
    out = Tensor(name="out", type="fp16", shape=PICTURE)
    op = Op(kind=kind, outputs=[out], inputs={"loop_vars": "x"}, blocks=[block, block])
    (found,) = hazards(write(tmp_path, [X], [op], ["out"]))
    assert found.op == "softplus" and found.place == "planted" and found.count == 2
