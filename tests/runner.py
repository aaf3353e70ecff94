"""A stand-in for GitHub's runner: as much of it as the action in this repository asks for."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Runner:
    """As much of GitHub's runner as the action asks for: expressions, outputs, and bash."""

    action: dict[str, Any]
    place: Path
    inputs: dict[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    code: int = 0
    done: list[str] = field(default_factory=list)

    def run(self, python: Path | str = sys.executable) -> "Runner":
        """All steps but those of others, and the installing."""
        known = {name: row.get("default", "") for name, row in self.action["inputs"].items()}
        self.inputs = known | self.inputs
        self.outputs["install"] = {"python": str(python)}
        for step in self.action["runs"]["steps"]:
            if "run" in step and step.get("id") != "install" and self.goes_on(step.get("if")):
                self.script(step)
        return self

    def goes_on(self, condition: str | None) -> bool:
        said = "true" if condition is None else self.filled(condition)
        assert said in ("true", "false"), f"cannot tell {condition}"
        return said == "true" and self.code == 0

    def filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: self.value(found[1]), text)

    def value(self, expression: str) -> str:
        match re.split(r"\s*(==|!=)\s*", expression):
            case [left, sign, "''"]:
                return str((self.value(left) == "") == (sign == "==")).lower()
            case [name]:
                kind, _, rest = name.partition(".")
                if kind == "steps":
                    step, _, output = rest.partition(".outputs.")
                    return self.outputs.get(step, {}).get(output, "")
                assert kind == "inputs", name
                return self.inputs[rest]
        raise AssertionError(f"cannot tell {expression}")

    def script(self, step: dict[str, Any]) -> None:
        temp = self.place / "temp"
        temp.mkdir(exist_ok=True)
        files = {name: temp / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.place,
            env={
                **os.environ,
                "RUNNER_TEMP": str(temp),
                "GITHUB_ACTION_PATH": str(ROOT),
                **{name: str(path) for name, path in files.items()},
                **{name: self.filled(value) for name, value in step["env"].items()},
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.done.append(step["name"])
        self.code, self.log = done.returncode, self.log + done.stdout + done.stderr
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        self.outputs[step.get("id", "")] = outputs(files["GITHUB_OUTPUT"].read_text())


def outputs(text: str) -> dict[str, str]:
    """GITHUB_OUTPUT as the runner reads it: name=value, or name<<mark, lines, mark."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, sign, value = re.split(r"(=|<<)", line, maxsplit=1)
        if sign == "<<":
            block = list(iter(lambda: next(lines), value))
            value = "\n".join(block)
        found[name] = value
    return found


def orders(log: str) -> list[str]:
    """The workflow commands that a runner would obey, in order."""
    found: list[str] = []
    stopped = ""
    for line in log.splitlines():
        if stopped:
            stopped = "" if line == f"::{stopped}::" else stopped
        elif line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line.startswith("::"):
            found.append(line)
    assert not stopped, "commands are never heard again"
    return found


def recorder(place: Path, code: int = 0) -> Path:
    """A Python that notes what it is asked for, and whose gate ends with a code."""
    path = place / "recorder"
    path.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && { echo token; exit; }\nshift 2\n'
        'printf "%s\\0" "$@" >> told; printf "\\0" >> told; : > temp/minuet-gate.md\n'
        f'[ "$1" != gate ] || exit {code}\n'
    )
    path.chmod(0o755)
    return path


def said(place: Path) -> list[list[tuple[str, str]]]:
    """Options and their values of each command that a recorder noted."""
    found: list[list[tuple[str, str]]] = []
    for block in (place / "told").read_text().split("\0\0")[:-1]:
        words = block.split("\0")[1:]
        ends = words.index("--")
        options = [word.partition("=") for word in words[:ends] if "=" in word]
        found.append([*((name, value) for name, _, value in options), ("--", words[ends + 1])])
    return found
