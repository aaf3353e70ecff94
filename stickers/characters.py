"""A character, a colour, an expression and an accessory become a rig."""

from functools import lru_cache

from minuet.contracts.errors import RequestError
from minuet.stickers import accessories, animals, birds, faces, food, oddities, things
from minuet.stickers.drawing import Drawing
from minuet.stickers.palette import COLORS
from minuet.stickers.rig import Rig

DEFAULT_COLOR: dict[str, str] = {
    "rabbit": "white",
    "cat": "orange",
    "dog": "brown",
    "bear": "brown",
    "panda": "white",
    "fox": "orange",
    "pig": "pink",
    "frog": "green",
    "mouse": "grey",
    "koala": "grey",
    "lion": "yellow",
    "chick": "yellow",
    "penguin": "black",
    "owl": "purple",
    "strawberry": "red",
    "apple": "red",
    "egg": "white",
    "cupcake": "pink",
    "avocado": "green",
    "icecream": "pink",
    "mushroom": "red",
    "pumpkin": "orange",
    "star": "yellow",
    "heart": "red",
    "cloud": "white",
    "ghost": "white",
    "sun": "yellow",
    "cactus": "green",
    "robot": "grey",
    "smiley": "yellow",
    "mug": "teal",
    "donut": "pink",
    "moon": "yellow",
}
CHARACTERS: tuple[str, ...] = tuple(DEFAULT_COLOR)
LIMBLESS: frozenset[str] = frozenset({"mushroom", "pumpkin", "mug", "donut", "moon"})


@lru_cache(maxsize=256)
def build(character: str, color: str, expression: str = "happy", accessory: str = "none") -> Rig:
    """The rig of a character: parts in painting order, a pivot for every node.

    At rest everything, white border included, lies within |x|, |y| <= 0.80 (canvas units).

    Raises:
        RequestError: when one of the four names is not known.
    """
    _check("character", character, CHARACTERS)
    _check("colour", color, tuple(COLORS))
    _check("expression", expression, faces.EXPRESSIONS)
    _check("accessory", accessory, accessories.ACCESSORIES)
    drawing = Drawing(color=COLORS[color])
    if character in animals.ANIMALS:
        animals.draw_animal(drawing, character, COLORS[color], expression)
    elif character in birds.BIRDS:
        birds.draw_bird(drawing, character, COLORS[color], expression)
    elif character in food.FOOD:
        food.draw_food(drawing, character, COLORS[color], expression)
    else:
        things.draw_thing(drawing, character, COLORS[color], expression)
    accessories.draw(drawing, accessory, expression)
    return drawing.finish()


def build_thing(seed: int) -> Rig:
    """A random sticker that is no named character; the same for the same seed."""
    return oddities.build(seed)


def _check(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise RequestError(
            f"{kind} {name!r}: not one of the sticker world's; use one of {', '.join(known)}"
        )
