"""A student on disk and back: model.json, weights.safetensors, tokenizer.json, card.md."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import read_json, write_folder
from minuet.models.animator import Animator
from minuet.models.config import DenoiserConfig
from minuet.models.denoiser import Denoiser
from minuet.models.packed import packed, unpacked

SCHEMA = 1
FAMILY = "sticker-denoiser"
MAX_WEIGHTS = 4 << 30  # bytes; far above phone class, far below a bomb


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How a network is meant to be sampled."""

    levels: tuple[float, ...]  # noise levels from 1 to 0
    guidance: float = 1.0  # 1: one pass a step (none, or folded in)
    folded: float = 1.0  # the guidance scale that training folded in
    scales: tuple[float, ...] = ()  # what a network that is told guidance scales is told

    def __post_init__(self) -> None:
        ordered = all(a > b for a, b in zip(self.levels[:-1], self.levels[1:], strict=True))
        if len(self.levels) < 2 or self.levels[0] != 1 or self.levels[-1] != 0 or not ordered:
            raise ValueError(f"noise levels fall from 1 to 0, got {self.levels}")

    @property
    def steps(self) -> int:
        """Network steps a clip."""
        return len(self.levels) - 1

    @property
    def evaluations(self) -> int:
        """Network evaluations a clip: steps x guidance passes."""
        return self.steps * (1 if self.guidance == 1 else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A network, how to sample it, and its words."""

    network: Denoiser
    sampler: Sampler
    tokenizer: str  # tokenizer.json's text
    card: str
    sha256: str = ""  # of the weights file; "" before it is saved

    def animator(
        self,
        side: int,
        levels: Sequence[float] | None = None,
        scales: Sequence[float] | None = None,
    ) -> Animator:
        """The one-call program at an output size, by its own levels and scales or by these.

        Raises:
            RequestError: the network does not work at that size, or hears other scales.
        """
        own = self.sampler
        levels, scales = levels or own.levels, own.scales if scales is None else scales
        return Animator(self.network, tuple(levels), side, tuple(scales)).eval()


def save_student(student: Student, folder: Path, storage: str = "half") -> None:
    """Write a student whole or not at all; weights in half precision, or packed to int8.

    Raises:
        RequestError: a weight is not finite, or too large for half precision.
    """
    weights = save(packed(student.network.state_dict(), storage))
    about = {
        "schema": SCHEMA,
        "family": FAMILY,
        "config": student.network.config.to_json(),
        "sampler": asdict(student.sampler),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    with write_folder(folder) as staging:
        (staging / "weights.safetensors").write_bytes(weights)
        text = json.dumps(about, indent=1, sort_keys=True) + "\n"
        (staging / "model.json").write_text(text, encoding="utf-8")
        (staging / "tokenizer.json").write_text(student.tokenizer, encoding="utf-8")
        (staging / "card.md").write_text(student.card, encoding="utf-8")


def load_student(folder: Path) -> Student:
    """Read a student; nothing in it is executed.

    Raises:
        DamagedError: missing, truncated, tampered with, or from a newer minuet.
    """
    if not folder.is_dir():
        raise DamagedError(f"{folder}: no student here (a folder with model.json is needed).")
    about = read_json(folder / "model.json")
    _check_about(about, folder)
    weights = folder / "weights.safetensors"
    tensors = _tensors(weights, about["weights_sha256"])
    try:
        network = Denoiser(DenoiserConfig.from_json(about["config"]))
        sampler = _sampler(about["sampler"])
        network.load_state_dict(unpacked(tensors))
    except (RequestError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise DamagedError(f"{folder}: model.json and the weights disagree ({error}).") from error
    return Student(
        network=network.eval().requires_grad_(False),
        sampler=sampler,
        tokenizer=_text(folder / "tokenizer.json"),
        card=_text(folder / "card.md"),
        sha256=about["weights_sha256"],
    )


def _sampler(about: Mapping[str, Any]) -> Sampler:
    """Lists become tuples; what was written before there were scales has none."""
    levels, scales = tuple(about["levels"]), tuple(about.get("scales", ()))
    return Sampler(**{**about, "levels": levels, "scales": scales})


def _check_about(about: Any, folder: Path) -> None:
    """Refuse what is not a student, or is from the future."""
    if not isinstance(about, Mapping) or about.get("family") != FAMILY:
        raise DamagedError(f"{folder}: model.json does not describe a {FAMILY}.")
    schema = about.get("schema")
    if type(schema) is not int or schema < 1:
        raise DamagedError(f"{folder}: model.json has no schema number; get a fresh copy.")
    if schema > SCHEMA:
        raise DamagedError(
            f"{folder}: written by a newer minuet (schema {schema}, this one reads {SCHEMA}); "
            "upgrade minuet."
        )
    missing = sorted({"config", "sampler", "weights_sha256"} - set(about))
    if missing:
        raise DamagedError(f"{folder}: model.json lacks {missing}; get a fresh copy.")


def _tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """The weights, once their size and hash are right."""
    if not path.is_file() or path.stat().st_size > MAX_WEIGHTS:
        raise DamagedError(f"{path}: missing, or larger than {MAX_WEIGHTS >> 30} GiB.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedError(f"{path}: its hash is not the one in model.json; get a fresh copy.")
    try:
        tensors: dict[str, Tensor] = load(data)
    except SafetensorError as error:
        raise DamagedError(f"{path}: damaged ({error}); get a fresh copy.") from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise DamagedError(f"{path}: holds values that are not finite; get a fresh copy.")
    return tensors


def _text(path: Path) -> str:
    """A small text file of the folder."""
    if not path.is_file() or path.stat().st_size > 16 << 20:
        raise DamagedError(f"{path}: missing, or larger than 16 MiB.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path}: not UTF-8 text ({error}); get a fresh copy.") from error
