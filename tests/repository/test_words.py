"""What a person reads uses the words of the field: prose of the package, the notebooks and the data, phrase by phrase.

Prose is a comment, a docstring, or a string of at least two words in a module; a markdown cell; a description of a column.
A string of one word is a name: columns and values of recorded runs keep theirs.
"""

import ast
import io
import json
import re
import tokenize
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
PRIVATE = {  # what only this project calls so -> what the field says
    r"\brungs?\b": "variant, or its name",
    r"\bladders?\b(?!\.png)": "the variants of the matrix multiplication",
    r"\bseed's\b|\b(by|in|than) the seed\b|\bthe seed (uses|writes|gives|says|claims|calls)\b": "the original engine",
    r"(?<![(`<])\bcanar(y|ies)\b(?! (is|a fixed) )": "reference loop (canary)",
    r"\b(the|no|each|every|its|met|missed|higher|lower) (bar|aim)s?\b": "target",
    r"\bplant(s|ed|ing)?\b": "insert",
    r"\broofs?\b": "roofline ceiling, or peak",
    r"\b(matrix|naive|tiled|packed|large|small) products?\b|\bproducts? of (two|matrices|\d+)\b": "matrix multiplication",
    r"\bway from Python\b": "call overhead",
    r"\bturn(s|ing|ed)? positions?\b": "RoPE, rotary embedding",
    r"\bbest copy\b": "copy bandwidth",
    r"\bintervals? (\w+ )?reach(es)?\b|\breach of (an|the|its|each|every) interval": "a confidence interval contains",
    r"\b(told|asked|charged)\b": "a verb whose actor is named",
    r"\bleft alone\b": "unchanged",
    r"\b(a|the|its|each|every|whose|this|with|without) floors?\b": "loop overhead",
    r"\bloop around nothing\b": "loop overhead",
    r"\bthe fixed chain\b": "the reference loop",
    r"\b(some|no)body('s)?\b": "a verb whose actor is named",
    r"\bsat (a|the|it|this) ?(round)? ?out\b|\bsits (a|the) round out\b": "not measured in that round",
    r"\bheld against\b": "compared with",
    r"(?<!dot )\b(one|a|each|the|this|next|last|float64|second) products?\b(?! (of|and))": "matrix multiplication",
    r"\bput to the test\b": "judged",
}
ANY = re.compile("|".join(f"(?:{phrase})" for phrase in PRIVATE), re.IGNORECASE)  # most prose has none


def prose_of_module(text):
    """Line and text of each comment and each string of two words or more; `{}` stands for a value in an f-string."""
    tree = ast.parse(text)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value if len(node.value.split()) > 1 else ""
    comments = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]
    yield from ((token.start[0], token.string) for token in comments)


def prose_of_notebook(text):
    cells = json.loads(text)["cells"]
    yield from ((number, "".join(c["source"])) for number, c in enumerate(cells) if c["cell_type"] == "markdown")


def prose_of_schema(text):
    yield from enumerate(re.findall(r'"(?:description|title)": *"((?:[^"\\]|\\.)*)"', text), 1)


READERS = {
    "perflib/**/*.py": prose_of_module,
    "notebooks/*-*.ipynb": prose_of_notebook,
    "data/*.json": prose_of_schema,
    "perflib/report/templates/*.j2": lambda text: enumerate(text.splitlines(), 1),
    "*.md": lambda text: enumerate(text.splitlines(), 1),
    "data/published/*.md": lambda text: enumerate(text.splitlines(), 1),
}


def private_words(root):
    """One line for every private phrase below `root`: file, place, the phrase with its surroundings, what to say."""
    for pattern, read in READERS.items():
        for file in sorted(root.glob(pattern)):
            name = file.relative_to(root).as_posix()
            for place, text in read(file.read_text(encoding="utf-8")):
                plain = " ".join(text.split())
                for phrase, say in PRIVATE.items() if ANY.search(plain) else ():
                    for hit in re.finditer(phrase, plain, re.IGNORECASE):
                        near = plain[max(0, hit.start() - 40) : hit.end() + 30]
                        yield f"{name}:{place}: {hit[0]!r} in {near!r}; say {say}"


def test_what_a_person_reads_has_no_private_words():
    problems = sorted(private_words(ROOT))

    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("perflib/a.py", '"""The next rung."""\n', "perflib/a.py:1"),
        ("perflib/a.py", "x = 1  # the seed's\n", "perflib/a.py:1"),
        ("perflib/a.py", 'x = 1\nraise ValueError(f"{x} is above the roof")\n', "perflib/a.py:2"),
        ("data/a.schema.json", '{"description": "which the seed uses"}', "data/a.schema.json:1"),
        ("notebooks/01-a.ipynb", '{"cells": [{"cell_type": "markdown", "source": ["large\\n", "product"]}]}', "a.ipynb:0"),
    ],
)
def test_a_private_word_is_named_with_its_place(tmp_path, name, text, place):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)

    (problem,) = private_words(tmp_path)
    assert place in problem


@pytest.mark.parametrize(
    "text",
    [
        "kernel = 'canary'",
        "# the seed of a generator",
        "# a dot product",
        "# the canary is a fixed chain",
        "rung = roof = 1",
    ],
)
def test_the_words_of_the_field_and_names_in_code_stay(tmp_path, text):
    (tmp_path / "perflib").mkdir()
    (tmp_path / "perflib/a.py").write_text(text + "\n")

    assert list(private_words(tmp_path)) == []
