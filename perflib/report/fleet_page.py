"""Make the page of a fleet: which machines, which tile on which, speeds over each one's own limit, and what differs.

The other pages of a report are of one run. Here every column is a machine, and no time stands beside that of another.
"""

from ..display.text import how_many
from ..studies.machines import Fleet, shares_figure
from .markup import render
from .page import Page, align, contents, gather_missing, parse, to_markup

STEM = "fleet"


def fleet_page(fleet: Fleet) -> Page:
    """The page; machines that are not usable stand in its first table with the reason, and nowhere else."""
    shares = fleet.shares()
    sections = (
        (
            "Which machines are these?",
            "A machine is known by its hardware; its newest recording speaks for it.",
            fleet.facts(),
        ),
        (
            "Which tile is best where?",
            "Of the tiled multiplication; the model's tile where it is another one.",
            fleet.tiles(),
        ),
        ("How near is each to its own limit?", "Rates over the multiply-add peak of the same machine.", shares),
        ("Which claims hold where?", "Each is judged inside the run of its machine.", fleet.claims()),
        ("What differs?", "What is the same on all machines is left out.", fleet.differences()),
    )
    tables = [(title, words, part) for title, words, part in sections if part.rows]
    tree = parse(render("fleet.html.j2", fleet=fleet, tables=tables, shares=shares, picture=shares_figure(fleet)))
    for block in tree(class_="scroll"):
        align(block)
    gather_missing(tree)
    toc = contents(tree)
    count = len(fleet.machines)
    return Page(
        STEM,
        f"What {'does' if count == 1 else 'do'} {how_many(count, 'machine')} say?",
        fleet.headline,
        to_markup(tree),
        toc,
        "fleet",
    )
