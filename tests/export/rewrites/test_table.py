"""Each target's rules, together, on a whole student."""

from collections import Counter

import pytest
import torch

from minuet.contracts.errors import RequestError
from minuet.export.capture import Program
from minuet.export.rewrites.engine import apply
from minuet.export.rewrites.table import RULES, rewrite


@pytest.mark.parametrize("target", RULES)
def test_a_student_is_the_same_after_every_rule(program: Program, target: str) -> None:
    rewritten, log = rewrite(program, target)
    wanted = program.exported.module()(*program.inputs)
    found = rewritten.exported.module()(*rewritten.inputs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert isinstance(log.applied, Counter)
    assert len(rewritten.exported.graph.nodes) <= len(program.exported.graph.nodes)


def test_an_unknown_target_is_refused(program: Program) -> None:
    with pytest.raises(RequestError, match="no rules for 'abacus'"):
        rewrite(program, "abacus")


def test_an_input_may_be_called_input() -> None:
    before = torch.export.export(torch.nn.GroupNorm(2, 4), (torch.rand(1, 4, 3),), strict=False)
    after, _ = apply(before, [])
    x = torch.rand(1, 4, 3)
    torch.testing.assert_close(after.module()(x), before.module()(x))
