"""Exported program -> a copy to edit: nodes with known shapes, constants shared by content."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import Node


class Draft:
    """A program under edit: its graph is a copy, its weights are the original's own tensors.

    The graph must be functional (no operator writes into its input), as `functional` makes it.
    """

    def __init__(self, exported: ExportedProgram) -> None:
        self.exported = exported
        self.module = copy.deepcopy(exported.graph_module)
        self.graph = self.module.graph
        self._normalise()
        self.added: dict[str, Tensor] = {}  # placeholder -> a constant that rules made
        self._by_content: dict[bytes, Node] = {}
        placeholders = self.graph.find_nodes(op="placeholder")
        # A copy renames what shadows a builtin: `input` becomes `input_1`.
        originals = exported.graph.find_nodes(op="placeholder")
        self._names = {a.name: b.name for a, b in zip(originals, placeholders, strict=True)}
        self._held = {self._names[name]: value for name, value in _held(exported).items()}
        inputs = {self._names.get(str(name)) for name in exported.graph_signature.user_inputs}
        self._first_input = next((node for node in placeholders if node.name in inputs), None)
        self._fakes = next(
            (value.fake_mode for node in self.graph.nodes if (value := _fake(node)) is not None),
            None,
        )
        self.anchor: Node | None = None  # where new nodes go, and whose module they belong to

    def _normalise(self) -> None:
        """Without what ties a graph to strides: views become reshapes, and assertions go.

        Shapes and dtypes are static, so that the assertions have held already.
        """
        import torch

        aten = torch.ops.aten
        for view in (aten.view.default, aten._unsafe_view.default):
            for node in self.graph.find_nodes(op="call_function", target=view):
                node.target = aten.reshape.default
        assertion = aten._assert_tensor_metadata.default
        for node in self.graph.find_nodes(op="call_function", target=assertion):
            self.graph.erase_node(node)

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A new node before the anchor; its shape is found by running on fake tensors."""
        import torch
        from torch.fx.node import map_arg

        assert self.anchor is not None and self._fakes is not None
        with self.graph.inserting_before(self.anchor):
            node: Node = self.graph.call_function(target, args, kwargs)
        for key in ("nn_module_stack", "stack_trace"):
            if key in self.anchor.meta:
                node.meta[key] = self.anchor.meta[key]
        given = map_arg((args, kwargs), lambda n: n.meta["val"])
        with self._fakes, torch.no_grad():
            node.meta["val"] = target(*given[0], **given[1])
        return node

    def reshape(self, node: Node, shape: Sequence[int]) -> Node:
        """The node itself where it has the shape already."""
        import torch

        if shape_of(node) == tuple(shape):
            return node
        return self.call(torch.ops.aten.reshape.default, node, list(shape))

    def constant(self, value: Tensor) -> Node:
        """A placeholder for a constant; equal constants are one."""
        assert self._fakes is not None
        value = value.detach().contiguous()
        raw = value.reshape(-1).view(_bytes()).numpy().tobytes() if value.numel() else b""
        key = hashlib.sha256(f"{value.dtype}{tuple(value.shape)}".encode() + raw).digest()
        if key not in self._by_content:
            first = self._first_input or next(iter(self.graph.nodes))
            with self.graph.inserting_before(first):
                node = self.graph.placeholder(f"c_folded_{len(self.added)}")
            node.meta["val"] = self._fakes.from_tensor(value, static_shapes=True)
            self.added[node.name] = value
            self._by_content[key] = node
        return self._by_content[key]

    def value(self, node: Node) -> Tensor | None:
        """The tensor behind a parameter, buffer or constant; None for all other nodes."""
        found = self.added.get(node.name, self._held.get(node.name))
        return found if node.op == "placeholder" else None

    def finish(self) -> ExportedProgram:
        """The edited program, without nodes and weights that nothing uses any more."""
        from torch.export import ExportedProgram as Made

        self.graph.eliminate_dead_code()
        for node in self.graph.find_nodes(op="placeholder"):
            if not node.users and self.value(node) is not None:
                self.graph.erase_node(node)
        self.graph.lint()
        self.module.recompile()
        old = self.exported
        signature = self._signature()
        kept = {spec.target for spec in signature.input_specs}
        state = {name: value for name, value in old.state_dict.items() if name in kept}
        constants = {name: value for name, value in old.constants.items() if name in kept}
        constants |= {name: value for name, value in self.added.items() if name in kept}
        return Made(
            root=self.module,
            graph=self.graph,
            graph_signature=signature,
            state_dict=state,
            range_constraints=old.range_constraints,
            module_call_graph=old.module_call_graph,
            example_inputs=old.example_inputs,
            constants=constants,
            verifiers=old.verifiers,
        )

    def _signature(self) -> Any:
        from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

        signature = copy.deepcopy(self.exported.graph_signature)
        for spec in signature.input_specs:
            spec.arg.name = self._names[spec.arg.name]
        specs = {spec.arg.name: spec for spec in signature.input_specs}
        for name in self.added:
            specs[name] = InputSpec(
                InputKind.CONSTANT_TENSOR, TensorArgument(name=name), name, None
            )
        placeholders = self.graph.find_nodes(op="placeholder")
        signature.input_specs = [specs[node.name] for node in placeholders]
        out = self.graph.output_node().args[0]
        for spec, node in zip(signature.output_specs, out, strict=True):
            if hasattr(node, "name"):
                spec.arg.name = node.name
        return signature


def functional(exported: ExportedProgram) -> ExportedProgram:
    """The program itself where no operator writes into its input, else such a form of it."""
    targets = (node.target for node in exported.graph.nodes if node.op == "call_function")
    schemas = (getattr(target, "_schema", None) for target in targets)
    if any(schema is not None and schema.is_mutable for schema in schemas):
        made: ExportedProgram = exported.run_decompositions({})
        return made
    return exported


def shape_of(node: Node) -> tuple[int, ...]:
    """Axes of a node's tensor."""
    return tuple(node.meta["val"].shape)


def kind_of(node: Node) -> str:
    """dtype and axes of what a node gives, for each tensor where it gives several."""
    value: Any = node.meta.get("val")
    several = isinstance(value, (list, tuple))
    kinds = (
        f"{str(one.dtype).removeprefix('torch.')} {tuple(one.shape)}"
        if hasattr(one, "dtype")
        else type(one).__name__
        for one in (value if several else [value])
    )
    return ", ".join(kinds)


def module_of(node: Node) -> str:
    """The path of the module a node was captured in; "" at the top."""
    stack = node.meta.get("nn_module_stack") or {}
    path = [str(entry[0]) for entry in stack.values()]
    return path[-1] if path else ""


def _held(exported: ExportedProgram) -> dict[str, Tensor]:
    held = {}
    for spec in exported.graph_signature.input_specs:
        for store in (exported.state_dict, exported.constants):
            if spec.target in store:
                held[spec.arg.name] = store[spec.target]
    return held


def _fake(node: Node) -> Any:
    value = node.meta.get("val")
    return value if hasattr(value, "fake_mode") else None


def _bytes() -> Any:
    import torch

    return torch.uint8
