"""What one sticker is: the words that its art, its motion and its caption are made from."""

from dataclasses import dataclass

THING = "thing"  # art of no kind that has a name, drawn by its seed
NO_ACCESSORY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A sticker in words; equal specs give equal clips."""

    character: str
    color: str  # "" for a thing
    style: str
    expression: str  # "" for a thing
    accessory: str
    motion: str
    toward: str  # "left", "right", or "" for a motion without sides
    amplitude: float  # 0.6 gently, 1.0, 1.3 wildly
    seed: int
