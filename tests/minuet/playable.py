"""A whole bundle with a tiny ONNX program of the animator's signature, made without torch."""

from pathlib import Path

import numpy as np

from minuet.contracts.files import write_bytes
from minuet.contracts.tensors import Array, Signature, TensorSpec

FRAMES, TOKENS, LATENT = 8, 16, 8


def signature(size: int) -> Signature:
    """animate(image, tokens, noise) -> frames."""
    noise = (1, FRAMES, 4, LATENT, LATENT)
    return Signature(
        inputs=(
            TensorSpec(name="image", axes="BCHW", shape=(1, 4, size, size), dtype="float32"),
            TensorSpec(name="tokens", axes="BL", shape=(1, TOKENS), dtype="int32", low=0, high=999),
            TensorSpec(name="noise", axes="BTCHW", shape=noise, dtype="float32"),
        ),
        outputs=(
            TensorSpec(name="frames", axes="TCHW", shape=(FRAMES, 4, size, size), dtype="uint8"),
        ),
    )


def program(size: int) -> bytes:
    """ONNX: the image, dimmed in frames 1 to 7 by what the tokens and the noise say."""
    from onnx import TensorProto, helper, numpy_helper

    later = np.arange(FRAMES, dtype=np.float32).reshape(FRAMES, 1, 1, 1) / 10
    constants: dict[str, Array] = {
        "later": later,
        "axes": np.array([2, 3, 4], np.int64),
        "as_frames": np.array([FRAMES, 1, 1, 1], np.int64),
        "gain": np.array(50, np.float32),
        "full": np.array(255, np.float32),
        "half": np.array(0.5, np.float32),
        "one": np.array(1, np.float32),
    }
    steps = [
        ("ReduceMean", ("noise", "axes"), "mean"),
        ("Reshape", ("mean", "as_frames"), "mean_T"),
        ("Mul", ("mean_T", "gain"), "drawn"),
        ("ReduceSum", ("words",), "sum"),
        ("Sin", ("sum",), "said"),
        ("Add", ("drawn", "said"), "both"),
        ("Sigmoid", ("both",), "how"),
        ("Mul", ("how", "later"), "dim"),
        ("Sub", ("one", "dim"), "light"),
        ("Mul", ("image", "light"), "lit"),
        ("Mul", ("lit", "full"), "scaled"),
        ("Add", ("scaled", "half"), "rounded"),
    ]
    nodes = [
        helper.make_node("Cast", ["tokens"], ["words"], to=TensorProto.FLOAT),
        *(helper.make_node(op, list(takes), [gives], name=gives) for op, takes, gives in steps),
        helper.make_node("Cast", ["rounded"], ["frames"], to=TensorProto.UINT8),
    ]
    for node in nodes:
        if node.op_type == "ReduceSum":
            node.attribute.append(helper.make_attribute("keepdims", 0))
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8}
    told = signature(size)
    ends = [
        [helper.make_tensor_value_info(spec.name, kinds[spec.dtype], spec.shape) for spec in specs]
        for specs in (told.inputs, told.outputs)
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "playable", ends[0], ends[1], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def write_bundle(folder: Path, size: int = 64) -> Path:
    """A sealed bundle with one artifact, onnx-fp32."""
    from minuet.export.bundle import seal
    from minuet.export.files import describe
    from minuet.stickers.captions import tokenizer_json

    entry = folder / "onnx-fp32" / "model.onnx"
    write_bytes(entry, program(size))
    write_bytes(folder / "tokenizer.json", tokenizer_json().encode())
    artifact = describe(
        folder, target="onnx", precision="fp32", entry=entry, requires={"opset": "18"}, seconds=0
    )
    seal(
        folder,
        name="playable",
        family="test",
        programs={"main": signature(size)},
        sampler={"steps": 1},
        artifacts=[artifact],
        source_sha256="0" * 64,
    )
    return folder
