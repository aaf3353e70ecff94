"""A diffusers pipeline's folder -> known to be whole, and to hold no code and no pickles."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minuet.contracts.errors import DamagedError, RequestError
from minuet.contracts.files import MAX_FILE_BYTES, contained, read_json, sha256_of
from minuet.export.quiet import quiet
from minuet.export.sources.weights import check_weights

INDEX = "model_index.json"
CODE = frozenset({".py", ".pyc", ".so", ".pyd", ".dll"})
MAX_FILES = 10_000
CLASS = re.compile(r"[A-Za-z_]\w{0,99}")
BY_NAME = "export the module by name: package.module:factory."
FOREIGN = (
    "is in neither diffusers nor transformers, so it would take custom code, which is not run; "
    + BY_NAME
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
    _refuse_remote(path / INDEX, index)
    with quiet():  # diffusers imports much at the first look at a class, and all of it talks
        pipeline, components = _components(path, index)
    for name, row in components.items():
        own = [file for file in files if file.startswith(f"{name}/")]
        _check_component(path, own, _stem(*row))
    digests = [(file, sha256_of(path / file)) for file in files if _counts(file)]
    text = json.dumps(digests)
    return PipelineFolder(
        path=path,
        pipeline=pipeline,
        components=components,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _files(root: Path) -> Iterator[str]:
    """Every file, once it is known to lie in the folder itself and to be of a sane size."""
    for count, path in enumerate(root.rglob("*")):
        if count > MAX_FILES:
            raise DamagedError(f"{root}: holds more than {MAX_FILES} files; not a pipeline.")
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            raise DamagedError(
                f"{path}: a link, which may change behind our back; copy the folder with "
                f"`cp -rL {shlex.quote(str(root))} elsewhere`."
            )
        name = path.relative_to(root).as_posix()
        contained(root, name)
        if path.is_dir():
            continue
        if not path.is_file():
            raise DamagedError(f"{path}: neither a file nor a folder; remove it.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DamagedError(
                f"{path}: larger than {MAX_FILE_BYTES >> 30} GiB; save it in shards, with "
                'save_pretrained(folder, max_shard_size="10GB").'
            )
        yield name


def _refuse_code(root: Path, files: list[str]) -> None:
    code = [name for name in files if Path(name).suffix in CODE]
    if code:
        raise RequestError(
            f"{root / code[0]}: code that came with the weights; it is not run. Remove it if the "
            f"classes of diffusers do, or {BY_NAME}"
        )


def _components(path: Path, index: Any) -> tuple[str, dict[str, tuple[str, str]]]:
    name = index.get("_class_name") if isinstance(index, Mapping) else None
    if isinstance(name, list) or (isinstance(index, Mapping) and "custom_pipeline" in index):
        raise RequestError(
            f"{path / INDEX}: asks for a custom pipeline, which is code, and is not run. Name a "
            f"class of diffusers as _class_name, or {BY_NAME}"
        )
    if not isinstance(name, str) or not CLASS.fullmatch(name):
        raise DamagedError(f"{path / INDEX}: names no pipeline class; get a fresh copy.")
    _insist_pipeline(path, name)
    rows = {key: row for key, row in index.items() if isinstance(row, list) and key[:1] != "_"}
    found = {}
    for key, row in rows.items():
        if row[:2] == [None, None]:
            continue
        if not CLASS.fullmatch(key) or len(row) != 2 or not all(isinstance(w, str) for w in row):
            raise DamagedError(f"{path / INDEX}: {key!r:.60} is not a component; get a fresh copy.")
        _insist_component(path, key, row[0], row[1])
        found[key] = (row[0], row[1])
    missing = [key for key in found if not (path / key).is_dir()]
    if missing or not found:
        what = ", ".join(missing) or "any component"
        raise DamagedError(f"{path}: {what} is missing from the folder; get a whole copy.")
    return name, found


def _insist_pipeline(path: Path, name: str) -> None:
    import diffusers

    found = _named(diffusers, name)
    if found is None:
        raise RequestError(f"{path}: {name} {FOREIGN}")
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline):
        raise RequestError(
            f"{path / INDEX}: {name} is no pipeline of diffusers; name the class that "
            "pipeline.save_pretrained(folder) writes there."
        )


def _insist_component(path: Path, key: str, library: str, name: str) -> None:
    """Refuse what is not one of the two libraries' own, or cannot be loaded from a folder."""
    found = _class(library, name)
    if found is None:
        raise RequestError(f"{path}: {key}: {library}.{name} {FOREIGN}")
    if not isinstance(found, type) or not hasattr(found, "from_pretrained"):
        raise RequestError(
            f"{path / INDEX}: {key}: {library}.{name} is no class that from_pretrained loads; "
            "name the one that pipeline.save_pretrained(folder) writes there."
        )


def _class(library: str, name: str) -> Any:
    """What the two libraries have of that name; None if nothing."""
    import diffusers
    import transformers

    homes = {"diffusers": diffusers, "transformers": transformers}
    home = homes.get(library) or _named(diffusers.pipelines, library)
    return _named(home, name) if CLASS.fullmatch(name) else None


def _named(home: Any, name: str) -> Any:
    try:
        return getattr(home, name, None)
    except (ImportError, RuntimeError):  # how lazy modules say that they cannot be imported
        return None


def _stem(library: str, name: str) -> str:
    """What a component's library calls its weights."""
    import diffusers

    own = issubclass(_class(library, name), diffusers.ModelMixin)
    return "diffusion_pytorch_model" if own else "model"


def _refuse_remote(path: Path, about: Any) -> None:
    if isinstance(about, Mapping) and {"auto_map", "trust_remote_code"} & set(about):
        raise RequestError(
            f"{path}: asks for code that comes with the model (auto_map, trust_remote_code), "
            f"which is not run. Remove the entry if the libraries' own class does, or {BY_NAME}"
        )


def _check_component(root: Path, files: list[str], stem: str) -> None:
    for file in files:
        if file.endswith("config.json"):
            _refuse_remote(root / file, read_json(root / file))
    check_weights(root, files, stem)


def _counts(file: str) -> bool:
    """Whether a file says anything about the model."""
    return Path(file).suffix in (".json", ".safetensors", ".txt", ".model")
