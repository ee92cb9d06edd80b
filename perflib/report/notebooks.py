"""Execute notebooks, all of them or none, on a run that the environment names.

Raises `ReportError` where the notebooks are not there or a cell fails: its notebook, its cell, its message.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from tqdm import tqdm

from ..display.figure import ON_PAGES
from ..display.progress import progress_bar
from ..display.text import first_line
from ..errors import ReportError
from ..files import NOTEBOOKS, PACKAGE, replace_text

CELL_LIMIT_S = 300
MOST_AT_ONCE = 4  # kernels, some hundred megabytes each
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"},
}


def execute_all(paths: Sequence[Path], environment: Mapping[str, str]) -> list[tuple[Path, nbformat.NotebookNode]]:
    """All notebooks executed in memory, each in its own folder: none of them counts before the last is done.

    They run side by side, as many as there are cores. What they record, as a sweep does, is removed at the end. Those of an
    installed perflib run in a temporary folder, for they write pages beside themselves.
    """
    notebooks = [(path, _read_clean(path)) for path in paths]
    cells = sum(len(notebook.cells) for _, notebook in notebooks)
    abandoned, workers = Event(), min(os.cpu_count() or 1, MOST_AT_ONCE)
    with TemporaryDirectory() as folder, progress_bar(cells, leave=False) as bar, ThreadPoolExecutor(workers) as pool:
        variables = {**environment, "PERFLIB_RECORD_TO": folder}
        clients = [
            _client(notebook, Path(folder) if path.is_relative_to(PACKAGE) else path.parent) for path, notebook in notebooks
        ]
        jobs = [
            pool.submit(_execute, path, client, variables, bar, abandoned)
            for path, client in zip(paths, clients, strict=True)
        ]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
            for job in jobs:
                if job.done():
                    job.result()
        except BaseException:  # Ctrl-C too: no kernel goes on alone
            abandoned.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for client in clients:
                if client.km and client.km.provisioner and client.km.provisioner.process:
                    client.km.provisioner.process.kill()
            raise
    return notebooks


def execute_in_place(paths: Sequence[Path] = ()) -> None:
    """Execute notebooks (by default all that are committed) on the reference run and write their outputs into them.

    Nothing is kept that another execution would change: no times, no tags, no widget state, no version of Python.
    """
    paths = [Path(p) for p in paths] or find_notebooks(NOTEBOOKS)
    environment = {name: value for name, value in os.environ.items() if name not in ("PERFLIB_RUN", ON_PAGES)}
    for path, notebook in execute_all(paths, environment):
        replace_text(path, nbformat.writes(notebook) + "\n")


def find_notebooks(folder: Path) -> list[Path]:
    """The notebooks of a folder, in order."""
    if notebooks := sorted(folder.glob("*.ipynb")):
        return notebooks
    raise ReportError(f"no notebooks in {folder}; install perflib again, or name a folder that has some")


def _read_clean(path: Path) -> nbformat.NotebookNode:
    """The notebook without outputs and without anything that an editor leaves behind; cells keep their ids."""
    try:
        notebook = nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))
        notebook.nbformat, notebook.nbformat_minor, notebook.metadata = 4, 5, nbformat.from_dict(METADATA)
        for number, cell in enumerate(notebook.cells):
            cell.setdefault("id", f"cell-{number:02}")
            cell.source = "".join(cell.source)
            cell.metadata = nbformat.NotebookNode()
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as problem:
        raise ReportError(f"{path.name}: cannot be read as a notebook: {first_line(problem)}") from None
    return notebook


def _client(notebook: nbformat.NotebookNode, folder: Path) -> NotebookClient:
    return NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_LIMIT_S,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],  # not even a word about its transport
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder.resolve())}},
    )


def _execute(path: Path, client: NotebookClient, environment: Mapping[str, str], bar: tqdm, abandoned: Event) -> None:
    """Execute the cells of one notebook in a kernel of its own, until all of them are abandoned."""
    count = 0
    bar.set_description_str(path.stem)
    try:
        with client.setup_kernel(env=environment):
            for index, cell in enumerate(client.nb.cells):
                if abandoned.is_set():
                    return
                count += cell.cell_type == "code" and bool(cell.source.strip())
                client.execute_cell(cell, index)
                bar.update()
    except CellExecutionError as problem:
        raise ReportError(f"{path.name}, cell [{count}]: {problem.ename}: {first_line(problem.evalue)}") from None
    except (CellTimeoutError, KeyError, RuntimeError) as problem:  # no such kernel; one that dies or never answers
        raise ReportError(f"{path.name}, cell [{count}]: {first_line(problem)}") from None
    finally:
        with suppress(RuntimeError):  # this thread had none
            asyncio.get_event_loop().close()
