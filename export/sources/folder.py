"""A diffusers pipeline's folder -> known to be whole, and to hold no code and no pickles."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import contained, read_json, sha256_of

INDEX = "model_index.json"
PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".msgpack", ".h5"})
CODE = frozenset({".py", ".pyc", ".so", ".pyd", ".dll"})
MAX_FILE_BYTES = 64 << 30  # one file of weights
MAX_HEADER_BYTES = 100 << 20  # of a safetensors file, as the library itself has it
MAX_FILES = 10_000
CLASS = re.compile(r"[A-Za-z_]\w{0,99}")
LIBRARIES = frozenset({"diffusers", "transformers"})
CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.contiguous() for k, v in '
    "torch.load('{name}', map_location='cpu', weights_only=True).items()}}, '{to}')\""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFolder:
    """A folder that may be loaded."""

    path: Path
    pipeline: str  # the class in diffusers
    components: dict[str, tuple[str, str]]  # name -> library and class; those that are there
    sha256: str  # of every configuration and every weight


def is_pipeline(path: Path) -> bool:
    """Whether a folder says that it is a pipeline."""
    return (path / INDEX).is_file()


def read_folder(path: Path) -> PipelineFolder:
    """Look at everything before anything is loaded; nothing of the folder is executed.

    Raises:
        RequestError: no pipeline, custom code, or pickled weights.
        DamagedError: missing components, files that leave the folder, absurd sizes.
    """
    if not path.is_dir():
        raise RequestError(f"{path}: no such folder; name a student or a diffusers pipeline.")
    if not is_pipeline(path):
        raise RequestError(
            f"{path}: neither a student (model.json) nor a diffusers pipeline ({INDEX}); "
            "save one with pipeline.save_pretrained(folder)."
        )
    files = sorted(_files(path))
    _refuse_code(path, files)
    index = read_json(path / INDEX)
    pipeline, components = _components(path, index)
    for name in components:
        _check_component(path, name, [file for file in files if file.startswith(f"{name}/")])
    digests = [(file, sha256_of(path / file)) for file in files if _counts(file)]
    text = json.dumps(digests)
    return PipelineFolder(
        path=path,
        pipeline=pipeline,
        components=components,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its header."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= min(MAX_HEADER_BYTES, path.stat().st_size):
            raise DamagedError(f"{path}: not a safetensors file; get a fresh copy.")
        try:
            header = json.loads(stream.read(size))
            del_meta = {name: row for name, row in header.items() if name != "__metadata__"}
            return {name: tuple(row["shape"]) for name, row in del_meta.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError(f"{path}: damaged header ({error}); get a fresh copy.") from error


def _files(root: Path) -> Iterator[str]:
    """Every file, once it is known to lie in the folder itself and to be of a sane size."""
    for count, path in enumerate(root.rglob("*")):
        if count > MAX_FILES:
            raise DamagedError(f"{root}: holds more than {MAX_FILES} files; not a pipeline.")
        name = path.relative_to(root).as_posix()
        contained(root, name)
        if path.is_dir():
            continue
        if not path.is_file():
            raise DamagedError(f"{path}: neither a file nor a folder; refused.")
        if path.stat().st_nlink > 1 or path.is_symlink():
            raise DamagedError(
                f"{path}: a link, which may change behind our back; copy the folder with "
                f"`cp -rL --no-preserve=links {root} elsewhere`."
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DamagedError(f"{path}: larger than {MAX_FILE_BYTES >> 30} GiB; refused.")
        yield name


def _refuse_code(root: Path, files: list[str]) -> None:
    code = [name for name in files if Path(name).suffix in CODE]
    if code:
        raise RequestError(
            f"{root / code[0]}: code that came with the weights; it is not run. Remove it if the "
            "classes of diffusers do, or export the module by name: package.module:factory."
        )


def _components(path: Path, index: Any) -> tuple[str, dict[str, tuple[str, str]]]:
    name = index.get("_class_name") if isinstance(index, Mapping) else None
    if isinstance(name, list) or (isinstance(index, Mapping) and "custom_pipeline" in index):
        raise RequestError(f"{path / INDEX}: asks for a custom pipeline, which is code; refused.")
    if not isinstance(name, str) or not CLASS.fullmatch(name):
        raise DamagedError(f"{path / INDEX}: names no pipeline class; get a fresh copy.")
    rows = {key: row for key, row in index.items() if isinstance(row, list) and key[:1] != "_"}
    found = {}
    for key, row in rows.items():
        if row[:2] == [None, None]:
            continue
        if not CLASS.fullmatch(key) or len(row) != 2 or not all(isinstance(w, str) for w in row):
            raise DamagedError(f"{path / INDEX}: {key!r:.60} is not a component; get a fresh copy.")
        found[key] = _trusted(path, name, key, (row[0], row[1]))
    missing = [key for key in found if not (path / key).is_dir()]
    if missing or not found:
        what = ", ".join(missing) or "any component"
        raise DamagedError(f"{path}: {what} is missing from the folder; get a whole copy.")
    return name, found


def _trusted(path: Path, pipeline: str, key: str, row: tuple[str, str]) -> tuple[str, str]:
    """Refuse a class that is not one of the two libraries' own."""
    import diffusers

    library, name = row
    ours = library in LIBRARIES or hasattr(diffusers.pipelines, library)
    if not ours or not CLASS.fullmatch(name) or not hasattr(diffusers, pipeline):
        what = f"{pipeline}" if ours else f"{key}: {library}.{name}"
        raise RequestError(
            f"{path}: {what} is in neither diffusers nor transformers, so it would take custom "
            "code, which is not run. Export the module by name instead: package.module:factory."
        )
    return row


def _check_component(root: Path, name: str, files: list[str]) -> None:
    for file in files:
        if file.endswith(".json") and Path(file).name.endswith("config.json"):
            about = read_json(root / file)
            if isinstance(about, Mapping) and {"auto_map", "trust_remote_code"} & set(about):
                raise RequestError(
                    f"{root / file}: asks for code that comes with the model (auto_map, "
                    "trust_remote_code), which is not run."
                )
        if file.endswith(".safetensors.index.json"):
            _check_shards(root, file)
    safe = any(file.endswith(".safetensors") for file in files)
    pickled = [file for file in files if Path(file).suffix in PICKLED]
    if pickled and not safe:
        bad = root / pickled[0]
        command = CONVERT.format(name=bad.name, to=bad.with_suffix(".safetensors").name)
        raise RequestError(
            f"{bad}: a pickle, which can run code when it is read; refused. Where you trust it, "
            f"convert it in a sandbox: {command}"
        )


def _check_shards(root: Path, index: str) -> None:
    about = read_json(root / index)
    rows = about.get("weight_map") if isinstance(about, Mapping) else None
    if not isinstance(rows, Mapping) or not rows:
        raise DamagedError(f"{root / index}: has no weight_map; get a fresh copy.")
    folder = (root / index).parent
    for shard in sorted({str(row) for row in rows.values()}):
        if not contained(folder, shard).is_file():
            raise DamagedError(f"{folder / shard}: a shard that is missing; get a whole copy.")
        if Path(shard).suffix != ".safetensors":
            raise RequestError(f"{folder / shard}: a shard that is no safetensors file; refused.")


def _counts(file: str) -> bool:
    """Whether a file says anything about the model."""
    return Path(file).suffix in (".json", ".safetensors", ".txt", ".model")
