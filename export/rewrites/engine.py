"""Program and rules -> the same function in another form, and a log of every place looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minuet.contracts.errors import Refusal
from minuet.contracts.files import write_json
from minuet.export.quiet import quiet
from minuet.export.rewrites.draft import Draft, functional, kind_of, module_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

REWRITES = "rewrites.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One node that fitted a rule's pattern, and what became of it."""

    rule: str
    node: str
    module: str  # path of the module it was captured in
    refusal: Refusal | None = None  # None: rewritten


class Rule(ABC):
    """A pattern around one node, a check, a replacement.

    The docstring of a rule states what must hold for the output to be equal; `check` refuses
    wherever that is not known to hold. A replacement of another shape or dtype is refused whatever
    the rule says.
    """

    name: str

    @abstractmethod
    def pattern(self, node: Node, draft: Draft) -> Any | None:
        """What was found around a node; None where this is no place for the rule."""

    @abstractmethod
    def check(self, match: Any, draft: Draft) -> Refusal | None:
        """Why the rule must not touch a match."""

    @abstractmethod
    def rewrite(self, match: Any, draft: Draft) -> Node:
        """The node to use in the place of the one that matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Where rules were applied, and where they refused."""

    places: tuple[Place, ...] = ()

    @property
    def applied(self) -> Counter[str]:
        """How often each rule was applied."""
        return Counter(place.rule for place in self.places if place.refusal is None)

    @property
    def refused(self) -> tuple[Place, ...]:
        """Places that fitted a pattern and failed its check."""
        return tuple(place for place in self.places if place.refusal is not None)

    def to_json(self) -> dict[str, Any]:
        """A plain value: how often each rule was applied, and why it was not elsewhere."""
        return {
            "applied": dict(sorted(self.applied.items())),
            "refused": [
                {"rule": one.rule, "module": one.module, "reason": one.refusal.reason}
                for one in self.places
                if one.refusal is not None
            ],
        }

    def write_beside(self, artifact: Path) -> None:
        """Keep it in rewrites.json in the artifact's folder."""
        write_json(artifact.with_name(REWRITES), self.to_json())


def apply(exported: ExportedProgram, rules: Iterable[Rule]) -> tuple[ExportedProgram, Log]:
    """Each rule in turn, over all nodes in their order.

    The given program stays as it was. The result shares its weights; only folded constants are new.
    """
    places: list[Place] = []
    with quiet():
        draft = Draft(functional(exported))
        for rule in rules:
            places += _sweep(rule, draft)
            draft.graph.eliminate_dead_code()
        return draft.finish(), Log(places=tuple(places))


def _sweep(rule: Rule, draft: Draft) -> Iterable[Place]:
    for node in list(draft.graph.nodes):
        if node.op != "call_function" or not node.users:
            continue
        match = rule.pattern(node, draft)
        if match is None:
            continue
        refusal = rule.check(match, draft) or _replace(node, rule, match, draft)
        yield Place(rule=rule.name, node=node.name, module=module_of(node), refusal=refusal)


def _replace(node: Node, rule: Rule, match: Any, draft: Draft) -> Refusal | None:
    """Put a rule's node in the place of another; or why not, where they differ in kind."""
    draft.anchor = node
    made = rule.rewrite(match, draft)
    wanted, found = kind_of(node), kind_of(made)
    if wanted != found:
        return Refusal(f"{node.name}: the rule makes {found} of {wanted}")
    node.replace_all_uses_with(made)
    draft.graph.erase_node(node)  # dead code is not removed where it may draw numbers
    return None
