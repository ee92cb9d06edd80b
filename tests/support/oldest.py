"""The lowest version of each package that pyproject.toml declares for the tests, as constraints for pip, one a line."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def lowest(project: dict, extras: tuple[str, ...] = ("test",)) -> Iterator[str]:
    """`name==version` for each bound `name>=version` of the project and of its extras, which may take in others."""
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for one in map(Requirement, lines):
        if one.name == project["name"]:
            yield from lowest({**project, "dependencies": []}, tuple(one.extras))
        else:
            (bound,) = one.specifier
            yield f"{one.name}=={bound.version}"


if __name__ == "__main__":
    print(*sorted(set(lowest(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]))), sep="\n")
