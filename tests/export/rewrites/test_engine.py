"""No rule can change what a program gives in shape or dtype."""

import pytest
import torch
from torch.fx import Node

from minuet.contracts.errors import Refusal
from minuet.export.rewrites.draft import Draft
from minuet.export.rewrites.engine import Rule
from tests.export.rewrites.rewriting import random, rewriting


class Wrong(Rule):
    """Replaces every sine by a cosine of another kind."""

    name = "wrong"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def pattern(self, node: Node, draft: Draft) -> Node | None:
        return node if str(node.target) == "aten.sin.default" else None

    def check(self, match: Node, draft: Draft) -> Refusal | None:
        return None

    def rewrite(self, match: Node, draft: Draft) -> Node:
        aten = torch.ops.aten
        made = draft.call(aten.cos.default, match.args[0])
        if self.kind == "dtype":
            return draft.call(aten.to.dtype, made, torch.float32)
        return draft.call(aten.unsqueeze.default, made, 0) if self.kind == "shape" else made


@pytest.mark.parametrize(
    ("kind", "found"), [("shape", "float64 (1, 2, 3)"), ("dtype", "float32 (2, 3)")]
)
def test_another_kind_of_tensor_is_refused_and_leaves_nothing(kind: str, found: str) -> None:
    done = rewriting(lambda x: x.sin() * 2, (random(2, 3),), Wrong(kind))
    done.assert_equal(0.0)
    (place,) = done.log.refused
    assert place.refusal is not None
    assert f"makes {found} of float64 (2, 3)" in place.refusal.reason
    assert done.length == (2, 2)


def test_the_same_kind_is_the_rules_to_answer_for() -> None:
    done = rewriting(lambda x: x.sin() * 2, (random(2, 3),), Wrong("none"))
    assert done.log.applied["wrong"] == 1 and done.count("cos") == 1
