"""A function is run in order, rounded as asked, and refused by name where it is not known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.runtimes.mil.evaluate import Rules, evaluate
from minuet.runtimes.mil.package import load_function
from minuet.runtimes.mil.ranges import range_hazards, ranges, value_hazards
from tests.mlpackage import Op, Tensor, message, save, write

X = Tensor(name="x", shape=(2,))
HALF = Tensor(name="h", type="fp16", shape=(2,))
Y = Tensor(name="y", shape=(2,))


def run(folder: Path, ops: list[Op], x: list[float], rounding: str = "declared") -> list[float]:
    function = load_function(write(folder, [X], ops, [ops[-1].outputs[0].name]))
    (found,) = evaluate(function, {"x": torch.tensor(x)}, Rules(rounding)).values()
    values: list[float] = found.float().tolist()
    return values


def square_root_of_square(kind: str) -> list[Op]:
    """sqrt(x^2), the square in the given type."""
    half = Tensor(name="h", type=kind, shape=(2,))
    return [
        Op(kind="mul", outputs=[half], inputs={"x": "x", "y": "x"}),
        Op(kind="sqrt", outputs=[Y], inputs={"x": "h"}),
    ]


def test_a_result_is_rounded_to_its_declared_type(tmp_path: Path) -> None:
    cast = [Op(kind="cast", outputs=[HALF], inputs={"x": "x", "dtype": "=fp16"})]
    assert run(tmp_path, cast, [2049.0, 0.1]) == [2048.0, float(np.float16(0.1))]


def test_float16_overflows_where_it_is_declared_or_asked_for(tmp_path: Path) -> None:
    ways = {("fp16", "declared"): np.inf, ("fp32", "fp16"): np.inf}
    ways |= {("fp32", "declared"): 300.0, ("fp16", "fp32"): 300.0}
    for (kind, rounding), expected in ways.items():
        folder = tmp_path / kind / rounding
        assert run(folder, square_root_of_square(kind), [300.0, 2.0], rounding) == [expected, 2.0]


def test_the_place_of_an_overflow_is_named_once_with_its_size(tmp_path: Path) -> None:
    function = load_function(write(tmp_path, [X], square_root_of_square("fp32"), ["y"]))
    given = {"x": torch.tensor([300.0, 2.0])}
    outputs, found = ranges(function, given)
    assert torch.isinf(outputs["y"]).any()
    assert [(one.place, one.overflows, one.strange) for one in found] == [("h", 1, 0), ("y", 0, 1)]
    assert found[0].largest == 90_000
    (hazard,) = range_hazards(found)
    assert hazard.place == "h" and "1 values up to 9e+04" in hazard.what
    outputs, found = ranges(function, {"x": torch.tensor([200.0, 2.0])})
    assert not range_hazards(found) and torch.isfinite(outputs["y"]).all()


def test_every_function_of_a_package_is_run(tmp_path: Path) -> None:
    """Over twice as many rows a sum overflows that does not over the default function's."""
    model = message()
    for name, rows in (("main", 2), ("main_4", 4)):
        x, y = Tensor(name="x", shape=(rows,)), Tensor(name="y", shape=(1,))
        op = Op(kind="reduce_sum", outputs=[y], inputs={"x": "x", "axes": [0], "keep_dims": True})
        part = write(tmp_path / name, [x], [op], ["y"], [name])
        found = message()
        found.ParseFromString(next(part.rglob("model.mlmodel")).read_bytes())
        model.mlProgram.functions[name].CopyFrom(found.mlProgram.functions[name])
    model.description.defaultFunctionName = "main"
    package = save(tmp_path / "m.mlpackage", model)
    (hazard,) = value_hazards(package, {"x": torch.tensor([2e4, 2e4])})
    assert hazard.place == "y" and hazard.what.endswith("up to 8e+04, in function main_4")
    (hazard,) = value_hazards(package, {"x": torch.tensor([4e4, 4e4])})
    assert hazard.what.endswith("up to 8e+04")


def test_a_cliff_of_the_engine_is_seen_when_values_reach_it(tmp_path: Path) -> None:
    soft = [Op(kind="softplus", outputs=[Y], inputs={"x": "x"})]
    function = load_function(write(tmp_path, [X], soft, ["y"]))
    for x, count in ((10.0, 0), (11.0, 1)):
        _, found = ranges(function, {"x": torch.tensor([x, 0.0])})
        assert len(range_hazards(found)) == count


def test_an_unknown_operation_is_refused_with_its_place(tmp_path: Path) -> None:
    for kind, reason in (("lstm", "not known"), ("random_normal", "make the noise an input")):
        folder = tmp_path / kind
        with pytest.raises(RequestError, match=f"y: '{kind}' .*{reason}"):
            run(folder, [Op(kind=kind, outputs=[Y], inputs={"x": "x"})], [1.0, 2.0])


def test_an_operation_that_fails_is_named(tmp_path: Path) -> None:
    wrong = [Op(kind="reshape", outputs=[Y], inputs={"x": "x", "shape": [3]})]
    with pytest.raises(RequestError, match=r"y \(reshape\) could not be evaluated"):
        run(tmp_path, wrong, [1.0, 2.0])


def test_a_result_of_another_shape_than_declared_is_refused(tmp_path: Path) -> None:
    wrong = [Op(kind="tile", outputs=[Y], inputs={"x": "x", "reps": [2]})]
    with pytest.raises(RequestError, match="declared is"):
        run(tmp_path, wrong, [1.0, 2.0])


def test_sizes_may_be_known_only_when_it_runs(tmp_path: Path) -> None:
    free, out = Tensor(name="x", shape=(None,)), Tensor(name="y", shape=(None,))
    ops = [Op(kind="tile", outputs=[out], inputs={"x": "x", "reps": [2]})]
    function = load_function(write(tmp_path, [free], ops, ["y"]))
    for size in (1, 3):
        assert evaluate(function, {"x": torch.ones(size)})["y"].shape == (2 * size,)


def test_a_condition_takes_one_of_its_blocks(tmp_path: Path) -> None:
    flag = Tensor(name="flag", type="bool")
    plus = [Op(kind="add", outputs=[Tensor(name="a", shape=(2,))], inputs={"x": "x", "y": 1.0})]
    less = [Op(kind="sub", outputs=[Tensor(name="b", shape=(2,))], inputs={"x": "x", "y": 1.0})]
    choose = Op(
        kind="cond",
        outputs=[Y],
        inputs={"pred": "flag"},
        blocks=[([], plus, ["a"]), ([], less, ["b"])],
    )
    function = load_function(write(tmp_path, [X, flag], [choose], ["y"]))
    for flag_value, expected in ((True, [2.0, 3.0]), (False, [0.0, 1.0])):
        given = {"x": torch.tensor([1.0, 2.0]), "flag": torch.tensor(flag_value)}
        assert evaluate(function, given)["y"].tolist() == expected


def test_a_loop_turns_until_its_condition_fails(tmp_path: Path) -> None:
    i, j = Tensor(name="i", type="int32"), Tensor(name="j", type="int32")
    small = Tensor(name="small", type="bool")
    going = [Op(kind="less", outputs=[small], inputs={"x": "i", "y": 5})]
    body = [Op(kind="add", outputs=[Tensor(name="n", type="int32")], inputs={"x": "j", "y": 2})]
    loop = Op(
        kind="while_loop",
        outputs=[Tensor(name="y", type="int32")],
        inputs={"loop_vars": "x"},
        blocks=[([i], going, ["small"]), ([j], body, ["n"])],
    )
    function = load_function(write(tmp_path, [Tensor(name="x", type="int32")], [loop], ["y"]))
    assert evaluate(function, {"x": torch.tensor(0, dtype=torch.int32)})["y"].item() == 6


def test_scalars_come_as_one_element(tmp_path: Path) -> None:
    one, out = Tensor(name="x", shape=(1,)), Tensor(name="y", shape=(1,))
    ops = [Op(kind="add", outputs=[out], inputs={"x": "x", "y": 1.0})]
    function = load_function(write(tmp_path, [one], ops, ["y"]))
    assert evaluate(function, {"x": torch.tensor(3.0)})["y"].tolist() == [4.0]


def test_rounding_has_three_names() -> None:
    with pytest.raises(ValueError, match="declared"):
        Rules("bf16")
