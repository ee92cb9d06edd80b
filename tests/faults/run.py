"""Insert the bugs of faults.toml, one at a time, and show that the test each one names turns red.

    python tests/faults/run.py                  those whose file, test or entry changed since origin/main
    python tests/faults/run.py WORD ...         those whose name contains one of the words
    python tests/faults/run.py --all            all of them

Works on copies of the tree, two bugs at a time. A copy keeps what Numba compiles, but for bugs in compiled code, whose
cached callers would not see them. Exit status 1 if a bug is missed, if its text does not occur exactly once, or if a named
test is red without any bug.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))
from changed import base, changed_files  # noqa: E402  found on the path above
from tree_copies import copy_to, holds_compiled, run_tests  # noqa: E402

WORKERS = 2


def plant(tree: Path, fault: dict[str, str]) -> str:
    """`caught`, or what went wrong instead."""
    file = tree / fault["file"]
    sound = file.read_text()
    if sound.count(fault["find"]) != 1:
        return f"its text occurs {sound.count(fault['find'])} times"
    file.write_text(sound.replace(fault["find"], fault["replace"]))
    try:
        done = run_tests(tree, fault["test"], fresh=holds_compiled(file, sound))
    finally:
        file.write_text(sound)
    if done.returncode in (1, -signal.SIGABRT, -signal.SIGSEGV):  # wrong memory is not always a wrong value
        return "caught"
    return "MISSED" if done.returncode == 0 else f"pytest ended with {done.returncode}: {done.stdout.strip()[-300:]}"


def changed_faults(faults: list[dict[str, str]], root: Path = ROOT) -> list[dict[str, str]]:
    """The bugs whose file, test or entry differs from the commit that changes count from."""
    show = ["git", "show", f"{base(root)}:tests/faults/faults.toml"]
    before = subprocess.run(show, cwd=root, capture_output=True, text=True, check=False).stdout
    entries, files = tomllib.loads(before).get("fault", []), changed_files(root)
    return [f for f in faults if f not in entries or not files.isdisjoint([f["file"], f["test"].partition("::")[0]])]


def main(words: list[str], everything: bool) -> int:
    """Run the chosen bugs; 0 if all were caught."""
    faults = tomllib.loads((Path(__file__).parent / "faults.toml").read_text())["fault"]
    chosen = [f for f in faults if everything or any(word in f["name"] for word in words)]
    if words and not chosen:
        sys.exit(f"WORD must be a part of a fault's name, got {', '.join(words)}")
    if not (chosen := chosen or changed_faults(faults)):
        print("nothing changed that has a bug to insert; all of them: make faults ALL=1")
        return 0
    print(f"{len(chosen)} of {len(faults)} bugs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            trees.put(copy_to(Path(folder).resolve() / str(number)))
        tree = trees.get()
        sound = run_tests(tree, "-n", str(WORKERS), "--dist", "loadfile", *sorted({f["test"] for f in chosen}))
        trees.put(tree)
        if sound.returncode:
            print(f"red without any fault:\n{sound.stdout[-3000:]}")
            return 1

        def judge(fault: dict[str, str]) -> bool:
            tree = trees.get()
            try:
                outcome = plant(tree, fault)
            finally:
                trees.put(tree)
            print(f"{outcome:8}  {fault['name']}  ({fault['test']})", flush=True)
            return outcome == "caught"

        with ThreadPoolExecutor(WORKERS) as pool:
            caught = list(pool.map(judge, chosen))
    print(f"{sum(caught)} caught, {len(caught) - sum(caught)} missed")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="part of a name; else those of what changed")
    parser.add_argument("--all", action="store_true", help="every bug: an hour or more")
    args = parser.parse_args()
    sys.exit(main(args.words, args.all))
