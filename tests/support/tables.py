"""Rows of tables by their first cell."""


def rows(table):
    return {row[0]: row[1:] for row in table.rows}
