"""Group norm over video is group norm over pictures of another shape."""

from torch import nn

from minuet.export.rewrites.norms import FlatGroupNorm
from tests.export.rewrites.rewriting import random, rewriting


def test_group_norm_over_video_takes_four_axes() -> None:
    shape = (2, 6, 3, 4, 5)
    done = rewriting(
        lambda self, x: self.norm(x), (random(*shape),), FlatGroupNorm(), norm=nn.GroupNorm(3, 6)
    )
    done.assert_equal()
    node = next(n for n in done.after.graph.nodes if "group_norm" in str(n.target))
    assert tuple(node.meta["val"].shape) == (2, 6, 12, 5)


def test_group_norm_over_pictures_is_left_alone() -> None:
    done = rewriting(
        lambda self, x: self.norm(x),
        (random(2, 6, 4, 5),),
        FlatGroupNorm(),
        norm=nn.GroupNorm(3, 6),
    )
    assert done.log.places == ()
