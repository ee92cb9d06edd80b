"""How a result looks: text, HTML, tables, figures, progress. Knows no run."""
