"""The everyday task in one call: versions of a function over sizes, as a table, a figure and sentences on the growth."""
