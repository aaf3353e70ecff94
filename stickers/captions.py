"""A sticker's spec becomes a sentence; the same spec always the same one."""

from random import Random

from minuet.stickers.reading import (
    VOCABULARY,
    VOCABULARY_SIZE,
    Parsed,
    address,
    encode,
    fitting_motion,
    one_of_each,
    parse,
    tokenizer_json,
    write_tokenizer,
)
from minuet.stickers.spec import NO_ACCESSORY, THING, Spec

__all__ = [
    "VOCABULARY",
    "VOCABULARY_SIZE",
    "Parsed",
    "address",
    "caption",
    "encode",
    "explicit",
    "fitting_motion",
    "one_of_each",
    "parse",
    "tokenizer_json",
    "write_tokenizer",
]

# How often a caption tells what it could also leave open.
TELLS_COLOR, TELLS_EXPRESSION, TELLS_ACCESSORY, TELLS_STYLE = 0.8, 0.55, 0.65, 0.15
TELLS_SIDE, TELLS_AMPLITUDE = 0.5, 0.5

NOUNS: dict[str, tuple[str, ...]] = {
    "rabbit": ("rabbit", "rabbit", "bunny"),
    "cat": ("cat", "cat", "kitty", "kitten"),
    "dog": ("dog", "dog", "puppy"),
    "bear": ("bear", "bear", "teddy bear", "teddy"),
    "pig": ("pig", "pig", "piglet"),
    "chick": ("chick", "chick", "chicken"),
    "cupcake": ("cupcake", "cupcake", "muffin"),
    "icecream": ("ice cream",),
    THING: ("sticker", "thing", "character", "creature"),
}
DOING: dict[str, tuple[tuple[str, str], ...]] = {  # "is ...", and what it does
    "bounce": (("bouncing", "bounces"), ("bouncing up and down", "bounces up and down")),
    "jump": (("jumping", "jumps"), ("jumping for joy", "jumps for joy"), ("leaping", "leaps")),
    "wave": (("waving", "waves"), ("waving hello", "waves hello"), ("saying hi", "says hi")),
    "spin": (("spinning", "spins"), ("spinning around", "spins around"), ("twirling", "twirls")),
    "shake": (("shaking", "shakes"), ("trembling", "trembles"), ("shivering", "shivers")),
    "pulse": (("pulsing", "pulses"), ("throbbing", "throbs")),
    "walk": (("walking", "walks"), ("strolling", "strolls"), ("marching along", "marches along")),
    "wobble": (("wobbling", "wobbles"), ("swaying", "sways"), ("rocking", "rocks")),
    "dance": (("dancing", "dances"), ("grooving", "grooves")),
    "nod": (("nodding", "nods"), ("nodding yes", "nods yes")),
    "cheer": (("cheering", "cheers"), ("celebrating", "celebrates")),
    "blink": (("blinking", "blinks"), ("blinking its eyes", "blinks its eyes")),
}
MOODS: dict[str, tuple[str, ...]] = {  # as adjectives
    "happy": ("happy", "smiling", "cheerful"),
    "joy": ("joyful", "laughing", "delighted"),
    "sad": ("sad", "crying", "tearful"),
    "angry": ("angry", "grumpy", "furious"),
    "surprised": ("surprised", "amazed", "startled"),
    "sleepy": ("sleepy", "tired", "drowsy"),
    "love": ("loving", "lovestruck"),
    "cool": ("cool",),
}
CARRIED: dict[str, tuple[str, ...]] = {
    "crown": ("wearing a crown", "with a crown"),
    "partyhat": ("wearing a party hat", "with a party hat"),
    "tophat": ("wearing a top hat", "with a top hat"),
    "headphones": ("wearing headphones", "with headphones"),
    "bow": ("wearing a bow", "with a bow", "with a ribbon"),
    "glasses": ("wearing glasses", "with glasses"),
    "trumpet": ("holding a trumpet", "with a trumpet"),
    "balloon": ("holding a balloon", "with a balloon"),
    "flower": ("holding a flower", "with a flower"),
    "scarf": ("wearing a scarf", "with a scarf"),
    "heart": ("holding a heart", "with a heart"),
    "star": ("holding a star", "with a star"),
    "cup": ("holding a cup", "with a cup", "with a cup of tea"),
}
WAYS: dict[str, tuple[str, ...]] = {  # toward the given side
    "wave": ("with its {side} hand", "with the {side} arm"),
    "spin": ("{turn}", "{turn}", "to the {side}"),
    "shake": ("to the {side} first", "starting to the {side}"),
    "walk": ("to the {side}", "{side}wards"),
    "wobble": ("to the {side}", "starting to the {side}"),
    "dance": ("to the {side}", "starting to the {side}"),
}
TURNS = {"left": "counterclockwise", "right": "clockwise"}
MANNERS = {
    0.6: ("gently", "softly", "slightly"),
    1.3: ("wildly", "energetically", "excitedly"),
}
LOOKS: dict[str, tuple[str, ...]] = {
    "flat": ("in flat style", "in simple flat colours"),
    "gradient": ("in gradient style", "with soft shading"),
    "outline": ("in outline style", "with bold outlines"),
    "pastel": ("in pastel style", "in pastel colours"),
}


def caption(spec: Spec) -> str:
    """One sentence about the sticker; its seed chooses what is told, and in which words."""
    rng = Random(f"caption {spec.seed}")
    doing, does = rng.choice(DOING[spec.motion])
    tail = _joined(_manner(spec, rng), _way(spec, rng))
    subject, after = _subject(spec, rng)
    forms = [
        _joined(subject, after, doing, tail),
        _joined(subject, after, "is", doing, tail),
        _joined(subject, after, does, tail),
        _joined(subject, doing, tail, after),
    ]
    if spec.character != THING:
        forms.append(_joined("a sticker of", subject, after, doing, tail))
    if not tail and " " not in doing:
        forms.append(_joined(article(doing), subject.split(" ", 1)[1], after))
    style = rng.choice(LOOKS[spec.style]) if rng.random() < TELLS_STYLE else ""
    return _joined(rng.choice(forms), style)


def explicit(spec: Spec) -> str:
    """The same sentence with nothing of the movement left open: how strongly, and which way."""
    text = caption(spec)
    told, rng = parse(text), Random(f"explicit {spec.seed}")
    manner = "" if told.amplitude != 1.0 or spec.amplitude == 1.0 else MANNERS[spec.amplitude][0]
    way = ""
    if spec.toward and not told.toward:
        way = rng.choice(WAYS[spec.motion]).format(side=spec.toward, turn=TURNS[spec.toward])
    return _joined(text, manner, way)


def _subject(spec: Spec, rng: Random) -> tuple[str, str]:
    """Who it is, and what belongs after the noun."""
    mood = rng.choice(MOODS[spec.expression]) if spec.expression else ""
    tells_mood = bool(mood) and rng.random() < TELLS_EXPRESSION
    behind = tells_mood and rng.random() < 0.25
    color = spec.color if rng.random() < TELLS_COLOR else ""
    noun = rng.choice(NOUNS.get(spec.character, (spec.character,)))
    front = mood if tells_mood and not behind else ""
    after = _joined(f"with {article(mood)} face" if behind else "", _carried(spec, rng))
    return article(_joined(front, color, noun)), after


def _carried(spec: Spec, rng: Random) -> str:
    if spec.accessory == NO_ACCESSORY or rng.random() >= TELLS_ACCESSORY:
        return ""
    return rng.choice(CARRIED[spec.accessory])


def _manner(spec: Spec, rng: Random) -> str:
    if spec.amplitude == 1.0 or rng.random() >= TELLS_AMPLITUDE:
        return ""
    return rng.choice(MANNERS[0.6 if spec.amplitude < 1.0 else 1.3])


def _way(spec: Spec, rng: Random) -> str:
    if not spec.toward or spec.motion not in WAYS or rng.random() >= TELLS_SIDE:
        return ""
    way = rng.choice(WAYS[spec.motion])
    return way.format(side=spec.toward, turn=TURNS[spec.toward])


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _joined(*pieces: str) -> str:
    return " ".join(piece for piece in pieces if piece)
