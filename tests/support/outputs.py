"""Compare what users see before and after a change of structure: command line, notebooks, report.

    python tests/support/outputs.py capture FOLDER          write the outputs of this tree into FOLDER, as text
    python tests/support/outputs.py compare BEFORE AFTER    equal but for renamed_words.txt; exit status 1 if not

Every output comes from the committed reference run, so that no measurement takes part. Pictures count by their digest.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).parent / "renamed_words.txt"
VERBS = ["machine", "record", "report", "bench", "forward", "selfcheck", "execute", "model", "compare", "new", "runs"]


def perflib(*words: str) -> str:
    """Both streams of one command, run on this tree."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    environment.pop("PERFLIB_RUN", None)
    done = subprocess.run(
        [sys.executable, "-m", "perflib", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return f"exit status {done.returncode}\n{done.stdout}{done.stderr}".replace(str(ROOT), "ROOT")


def capture(folder: Path) -> None:
    """Write one text file for each output."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = sorted((ROOT / "data" / "reference").iterdir())[-1].name
    commands = {"help": ("--help",), **{f"help-{verb}": (verb, "--help") for verb in VERBS}}
    commands |= {"model": ("model", reference), "compare": ("compare", reference, reference)}
    commands |= {"no-such-run": ("model", "none"), "no-such-shape": ("forward", "--shape", "none")}
    commands |= {"report": ("report", reference)}
    for name, words in commands.items():
        print(name, flush=True)
        (folder / f"command-{name}.txt").write_text(perflib(*words))
    for page in sorted((ROOT / "reports").glob("*.html")):
        (folder / f"page-{page.stem}.txt").write_text(page_text(page.read_text()))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(notebook.read_text())["cells"]
        outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
        (folder / f"notebook-{notebook.stem}.txt").write_text(json.dumps(outputs, indent=1, ensure_ascii=False))


def page_text(markup: str) -> str:
    """Text of a page without its code, line by line; pictures as their description and digest."""
    soup = BeautifulSoup(markup, "html.parser")
    for code in soup.select(".highlight"):
        code.decompose()
    for image in soup.find_all("img"):
        digest = hashlib.sha256(image["src"].encode()).hexdigest()[:12]
        image.replace_with(f"[picture {digest}: {image.get('alt')}]")
    return soup.get_text("\n", strip=True) + "\n"


def renamed(text: str) -> str:
    """The text with every old word of the table replaced by its new one."""
    for line in WORDS.read_text().splitlines() if WORDS.is_file() else []:
        old, separator, new = line.partition(" -> ")
        if separator:
            text = re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", new, text)
    return text


def compare(before: Path, after: Path) -> int:
    """Print what differs; 1 if anything does."""
    names = sorted({file.name for folder in (before, after) for file in folder.glob("*.txt")})
    differing = 0
    for name in names:
        old, new = (folder / name for folder in (before, after))
        texts = [renamed(file.read_text()) if file.is_file() else "missing\n" for file in (old, new)]
        lines = list(difflib.unified_diff(*(text.splitlines() for text in texts), str(old), str(new), lineterm="", n=1))
        print(*lines, sep="\n", end="\n" if lines else "")
        differing += bool(lines)
    print(f"{len(names) - differing} of {len(names)} outputs are equal")
    return 1 if differing or not names else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("capture", "compare"))
    parser.add_argument("folders", nargs="+", type=Path)
    args = parser.parse_args()
    sys.exit(compare(*args.folders) if args.action == "compare" else capture(*args.folders))
