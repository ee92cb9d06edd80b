"""Parse the command line, call the work, print. Results go to stdout, progress and errors to stderr.

Each command imports what it needs, so `--help` and a wrong word answer at once. No command at all is `--help`.

    perflib machine | report [--single-file] [--fleet FOLDER] [RUN] | readme
    perflib record [--quick] [--peers] [--wait] [--repeat K [--every MIN]]
    perflib bench [--quick] [--targets] [--json FILE]
    perflib forward [--shape NAME | --gguf FILE] [--kind KIND] [--prompt N] [--tokens N] [--batch N] [--threads N]
    perflib generate --gguf FILE [--prompt TEXT | --batch-file FILE] [--chat] [--tokens N] [--temperature T] [--top-k K]
                     [--seed S] [--threads N]
    perflib selfcheck [--between [--runs RUN RUN]] [--quick] [--json FILE] | execute | new NAME | lab [FOLDER]
    perflib model [RUN] | compare [--json FILE] [--html FILE] RUN RUN | runs
    perflib history [KERNEL ...] [--machine NAME] [--folder FOLDER] [--html FILE]
    perflib fleet worker ADDRESS [--name NAME] [--port N] | show [FOLDER] [--html FILE]
    perflib fleet record --scheduler ADDRESS [--quick] [--peers] [--folder FOLDER]
    perflib growth FILE [--expect CLASS] [--at-most CLASS] [--unit UNIT] [--html FILE]

Exit status: 0 done, 1 a check failed or the command could do nothing, 2 wrong usage, 130 interrupted. Of `compare`
also: 0 no regression, 3 at least one case is slower beyond doubt, 4 nothing comparable. `growth` ends with 1 if a curve
is refused or inconsistent with its class, `fleet record` if a machine has no recording that counts. An error is one line.
"""

import argparse
import io
import json
import math
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NothingComparable, PerflibError, RunError, SampleError, on_one_line
from .files import IS_CLONE, require_clone
from .system.children import become

if TYPE_CHECKING:
    from .llm.gguf import GGUFWeights
    from .runs.store import Run

FORWARD_SIZES = {"prompt": 128, "tokens": 32, "batch": 1, "threads": 1}
GENERATE_SIZES = {"tokens": 128, "threads": 1}


def run(argv: Sequence[str], loaded: Callable[[], None] = lambda: None) -> int:
    """Run one command; returns the exit status. Call `loaded` between loading Numba and the command."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    from . import kernels as kernels  # half a second, which a wrong word or --help does not wait for

    loaded()
    try:
        return globals()[f"_{args.command}"](args) or 0  # a command is the function of its name
    except KeyboardInterrupt:
        print(f"interrupted; continue with: perflib {shlex.join(argv)}", file=sys.stderr)
        return 130
    except (PerflibError, OSError) as problem:
        print(f"perflib: {on_one_line(problem)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perflib", description="How fast is a numeric kernel in Python really, and why.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    machine = commands.add_parser("machine", help="facts and measured limits of this machine")
    machine.add_argument("--json", action="store_true", help="as JSON")
    machine.add_argument("--fresh", action="store_true", help="measure again what was measured on this machine before")
    machine.add_argument("--model", type=Path, metavar="FILE", help="predict for the machine described there (JSON)")

    record = commands.add_parser("record", help="measure this machine into data/runs/<run-id>/; continues if interrupted")
    record.add_argument("--quick", action="store_true", help="every series on a coarser grid: three to five minutes")
    record.add_argument("--peers", action="store_true", help="MKL and PyTorch too, those that are installed")
    record.add_argument("--wait", action="store_true", help="wait until another measurement on this machine ends")
    record.add_argument("--repeat", type=int, default=1, metavar="K", help="sessions of the run, each a whole recording")
    record.add_argument("--every", type=float, metavar="MIN", help="minutes from one session to the next; by default none")

    report = commands.add_parser("report", help="execute the notebooks on a run and write reports/index.html")
    report.add_argument("run", nargs="?", metavar="RUN", help="id or path; else PERFLIB_RUN, else the latest recorded")
    report.add_argument("--single-file", action="store_true", help="one HTML file to mail, <run-id>.html in this folder")
    report.add_argument("--fleet", type=Path, metavar="FOLDER", help="and a page on the machines of a fleet or any runs")

    bench = commands.add_parser("bench", help="the fast kernels against the libraries installed here: some minutes")
    bench.add_argument("--quick", action="store_true", help="fewer sizes and less time for each: two minutes")
    bench.add_argument("--targets", action="store_true", help="show each figure's target; status 1 where one is missed")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write machine, rows and summary there")

    commands.add_parser("readme", help="renew the README: pictures of the reference run, results of the last `make bench`")

    words = "a decoder's pass taken apart: tokens per second, parts, shares of limits"
    forward = commands.add_parser("forward", help=words)
    source = forward.add_mutually_exclusive_group()
    source.add_argument("--shape", default="15M", metavar="NAME", help="random weights: 15M (default), 110M or 1.1B")
    source.add_argument("--gguf", type=Path, metavar="FILE", help="weights of a Llama, Qwen2 or Qwen3 model")
    forward.add_argument("--kind", choices=("F32", "Q8_0"), help="of the weights; by default as they come")
    for name, default in FORWARD_SIZES.items():
        forward.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"by default {default}")

    words = "text that continues prompts, by the model of a GGUF file; then tokens per second, parts, shares of limits"
    generate = commands.add_parser("generate", help=words)
    generate.add_argument("--gguf", type=Path, required=True, metavar="FILE", help="a Llama, Qwen2 or Qwen3 model")
    prompts = generate.add_mutually_exclusive_group()
    prompts.add_argument("--prompt", metavar="TEXT", help="by default, and for -, what stdin has")
    prompts.add_argument("--batch-file", type=Path, metavar="FILE", help="a prompt per line, one after the other")
    generate.add_argument("--chat", action="store_true", help="prompts are questions, for the chat template of the file")
    for name, default in GENERATE_SIZES.items():
        generate.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"by default {default}")
    generate.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 (default) takes the likeliest token"
    )
    generate.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="draw from so many; 0 (default) from all tokens"
    )
    generate.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws; by default 0")

    selfcheck = commands.add_parser("selfcheck", help="how far this machine's numbers can be trusted: some minutes")
    selfcheck.add_argument("--quick", action="store_true", help="fewer trials: about half a minute")
    words = "does the next recording say the same: records this code twice, an hour, with --quick five minutes"
    selfcheck.add_argument("--between", action="store_true", help=words)
    selfcheck.add_argument("--runs", nargs=2, metavar="RUN", help="with --between: count these two, record nothing")
    selfcheck.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    execute = commands.add_parser("execute", help="re-execute the notebooks on the reference run, renew README")
    execute.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="by default all of them")

    model = commands.add_parser("model", help="compare the cache models with a run, each figure with its target")
    model.add_argument("run", nargs="?", metavar="RUN", help="id, path or latest; else PERFLIB_RUN, else the reference run")

    compare = commands.add_parser("compare", help="what changed between two runs, per kernel and size")
    compare.add_argument("before", metavar="RUN", help="id, path or latest")
    compare.add_argument("after", metavar="RUN", help="likewise; from another machine it is compared by its limits")
    compare.add_argument("--json", type=Path, metavar="FILE", help="write the figures and every case there")
    compare.add_argument("--html", type=Path, metavar="FILE", help="write the result there as one page")

    words = "how times changed from recording to recording on one machine, with commits and versions at each step"
    history = commands.add_parser("history", help=words)
    history.add_argument("kernels", nargs="*", metavar="KERNEL", help="by default all, steps only")
    history.add_argument("--machine", default="", metavar="NAME", help="part of a machine's name; by default this one")
    history.add_argument("--folder", type=Path, metavar="FOLDER", help="of runs; by default data/reference and data/runs")
    history.add_argument("--html", type=Path, metavar="FILE", help="write the result there as one page, with its figure")

    words = "how times grow with the size, from a file of any tool: CSV, pyperf or google/benchmark JSON"
    growth = commands.add_parser("growth", help=words)
    growth.add_argument("file", type=Path, metavar="FILE", help="size and time, and a name for each of several curves")
    growth.add_argument("--expect", metavar="CLASS", help='an exponent or a class: 2, n, "n log n", n^2')
    growth.add_argument("--at-most", metavar="CLASS", help="an upper bound: what grows slower is fine")
    growth.add_argument("--unit", metavar="UNIT", help="of times that name none: ns, us, ms or s (default)")
    growth.add_argument("--html", type=Path, metavar="FILE", help="write sentences and figures there as one page")

    fleet = commands.add_parser("fleet", help="the same question on every machine of a Dask cluster")
    verbs = fleet.add_subparsers(required=True, dest="verb", metavar="VERB")
    worker = verbs.add_parser("worker", help="let this machine take part, until Ctrl-C")
    worker.add_argument("address", metavar="ADDRESS", help="of the scheduler, such as tcp://127.0.0.1:8786")
    worker.add_argument("--name", default="", metavar="NAME", help="of this machine in all tables")
    worker.add_argument("--port", type=int, default=0, metavar="N", help="that this worker listens on; by default any")
    record_all = verbs.add_parser("record", help="one recording on each machine, collected here; continues if interrupted")
    record_all.add_argument("--scheduler", required=True, metavar="ADDRESS", help="such as tcp://127.0.0.1:8786")
    record_all.add_argument("--quick", action="store_true", help="as for perflib record")
    record_all.add_argument("--peers", action="store_true", help="as for perflib record")
    for verb in (worker, record_all):
        for name in ("ca-file", "cert", "key"):
            verb.add_argument(f"--tls-{name}", metavar="FILE", help="for an address that begins with tls://")
        verb.add_argument(
            "--insecure", action="store_true", help="an address off this machine without TLS, in a closed network"
        )
    show = verbs.add_parser("show", help="claims, tiles and shares of each machine's own limits, side by side")
    show.add_argument("--html", type=Path, metavar="FILE", help="write the result there as one page")
    where = {"type": Path, "metavar": "FOLDER", "help": "by default data/fleet"}
    record_all.add_argument("--folder", **where)
    show.add_argument("folder", nargs="?", **where)

    new = commands.add_parser("new", help="copy the template notebook for a kernel of your own: my-notebooks/NAME.ipynb")
    new.add_argument("name", metavar="NAME", help="letters, digits, - and _")

    lab = commands.add_parser("lab", help="copy the notebooks to a folder of yours and open JupyterLab there")
    lab.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="by default perflib-notebooks/ here")

    commands.add_parser("runs", help="what is recorded")
    return parser


def _load(name: str | Path | None) -> "Run":
    from .runs.store import load_run  # brings Numba, see run

    return load_run(name)


def _machine(args: argparse.Namespace) -> None:
    if args.model:
        from .models.other_machine import predict

        print(predict(args.model))
        return
    from .hardware import facts, hierarchy, limits

    progress = partial(print, file=sys.stderr)
    here = facts.machine()
    if not args.json:
        print(here, flush=True)
    levels = hierarchy.hierarchy(here, args.fresh, progress)
    rates = limits.limits(here, args.fresh, progress)
    if args.json:
        rates = {f"peak_gflops_{dtype}": rates.peak_gflops(dtype) for dtype in ("float32", "float64")} | rates
        measured = {"limits": {name: asdict(rate) for name, rate in rates.items()}, "hierarchy": asdict(levels)}
        print(json.dumps(here.to_dict() | measured, indent=1))
        return
    print(f"\n{levels}\n\nOne core, 95 % intervals:\n{rates}")


def _record(args: argparse.Namespace) -> None:
    from .studies.recording_plan import record

    if args.every is not None and args.repeat == 1:
        raise PerflibError("--every must stand with --repeat K, K of at least 2")
    if args.repeat < 1 or not 0 <= (args.every or 0) < math.inf:
        raise PerflibError(f"--repeat must be at least 1 and --every at least 0, got {args.repeat} and {args.every or 0:g}")
    sessions = {"repeat": args.repeat, "every_min": args.every or 0.0}
    print(record(quick=args.quick, peers=args.peers, wait=args.wait, **sessions).path)


def _report(args: argparse.Namespace) -> None:
    more = {}
    if args.fleet:
        from .studies.machines import load_fleet

        more = {"fleet": load_fleet(args.fleet)}
    run = _load(args.run or (None if os.environ.get("PERFLIB_RUN") else "latest"))
    from .report.build import build, build_single  # takes seconds, a wrong name does not

    print(build_single(run, **more) if args.single_file else build(run, **more))


def _bench(args: argparse.Namespace) -> int:
    from .validation.bench import SAVED, WITHOUT, bench, handicaps

    if settings := handicaps(os.environ):  # which the libraries have read by now: anew, without
        note = {WITHOUT: ", ".join(f"{name}={value}" for name, value in settings.items())}
        environment = {name: value for name, value in os.environ.items() if name not in settings}
        flags = [f"--{name}" for name in ("quick", "targets") if vars(args)[name]]
        words = ["bench", *flags, *(["--json", str(args.json)] if args.json else [])]
        become("-m", "perflib", *words, environment=environment | note)
    card = _measure(args, bench)
    if IS_CLONE:
        print(f"written to {card.save(SAVED)}", file=sys.stderr)
    if args.targets:
        print(f"\n{card.table()!r}")
    return 1 if args.targets and card.missed else 0


def _readme(args: argparse.Namespace) -> None:
    require_clone("perflib readme")
    from .report.readme import update_bench, update_readme
    from .validation.bench import load_bench

    os.environ.pop("PERFLIB_RUN", None)  # what is committed tells of the reference run
    update_readme(_load(None))
    update_bench(load_bench())


def _forward(args: argparse.Namespace) -> None:
    from .hardware.facts import machine
    from .llm import forward, weights
    from .runs.writer import measuring_lock

    if args.shape not in weights.SHAPES:
        raise PerflibError(f"--shape must be one of {', '.join(weights.SHAPES)}, got {args.shape}")
    sizes = _sizes(args, FORWARD_SIZES)
    source = _gguf(args.gguf) if args.gguf else weights.RandomWeights(weights.SHAPES[args.shape])
    with measuring_lock():
        passes = forward.forward(source, machine(), args.kind, **sizes)
    print(forward.report(passes))


def _generate(args: argparse.Namespace) -> int:
    from .hardware.facts import machine
    from .llm.forward import report
    from .llm.generation import Generation
    from .runs.writer import measuring_lock

    sampling = {name: getattr(args, name) for name in ("temperature", "top_k", "seed")}
    sizes, prompts, status = _sizes(args, GENERATE_SIZES), _prompts(args), 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a model writes what the encoding of a terminal may not have
    with measuring_lock():
        generation = Generation(_gguf(args.gguf), machine(), prompts, chat=args.chat, **sizes, **sampling)
        try:
            for number, prompt in enumerate(prompts):
                if prompts[1:]:
                    print(f"> {prompt}")
                for text in generation.stream(number):
                    print(text, end="", flush=True)
                print("\n")
                if generation.note:
                    print(f"perflib: {generation.note}", file=sys.stderr)
        except KeyboardInterrupt:
            if not generation.prompt_stats.count:
                raise  # there is nothing to show
            print("\n")
            status = 130
    print(report(generation.passes()))
    return status


def _prompts(args: argparse.Namespace) -> list[str]:
    """Those of the command line: one, or the lines of a file that are not empty."""
    if args.batch_file:
        lines = [line.removesuffix("\r") for line in _utf8(args.batch_file.read_bytes(), str(args.batch_file)).split("\n")]
        if not (prompts := [line for line in lines if line.strip()]):
            raise PerflibError(f"{args.batch_file} has no prompt; write one per line")
        return prompts
    if args.prompt not in (None, "-"):
        return [args.prompt]
    if sys.stdin.isatty():
        print("prompt, ends with Ctrl-D:", file=sys.stderr)
    return [_utf8(sys.stdin.buffer.read(), "stdin").removesuffix("\n")]


def _utf8(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        raise PerflibError(
            f"{name} is not UTF-8: byte 0x{content[problem.start]:02X} at position {problem.start}"
        ) from None


def _sizes(args: argparse.Namespace, names: Iterable[str]) -> dict[str, int]:
    sizes = {name: getattr(args, name) for name in names}
    for name, size in sizes.items():
        if size < 1:
            raise PerflibError(f"--{name} must be at least 1, got {size}")
    return sizes


def _gguf(path: Path) -> "GGUFWeights":
    """The weights of a file; what it warns of is a line."""
    from .llm.gguf import GGUFWeights

    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always", UserWarning)
        weights = GGUFWeights(path)
    for notice in notices:
        print(f"perflib: {notice.message}", file=sys.stderr)
    return weights


def _selfcheck(args: argparse.Namespace) -> int:
    if args.runs and not args.between:
        raise PerflibError("--runs must stand with --between, got it alone")
    if args.between:
        from .validation.between import between

        runs = [_load(name) for name in args.runs or ()]
        return 1 if _measure(args, partial(between, runs=runs)).missed else 0
    from .validation.selfcheck import selfcheck

    return 1 if _measure(args, selfcheck).missed else 0


def _measure(args: argparse.Namespace, measure: Callable[..., Any]) -> Any:
    """Measure a scorecard, print it, and write it to the file of --json."""
    if args.json:
        args.json.touch()  # rather now than after some minutes
    card = measure(quick=args.quick)
    if args.json:
        args.json.write_text(json.dumps(card.to_dict(), indent=1) + "\n")
    print(card)
    return card


def _execute(args: argparse.Namespace) -> None:
    if not args.notebooks:
        require_clone("perflib execute without the name of a notebook")
    from .report import notebooks, readme

    os.environ.pop("PERFLIB_RUN", None)  # what is committed tells of the reference run
    notebooks.execute_in_place(args.notebooks)
    if not args.notebooks:
        readme.update_readme(_load(None))


def _model(args: argparse.Namespace) -> int:
    from .validation.model_check import judge_models

    card = judge_models(_load(args.run))
    print(card)
    return 1 if card.missed else 0


def _compare(args: argparse.Namespace) -> int:
    from .runs.compare import NOTHING, compare_runs

    try:
        comparison = compare_runs(_load(args.before), _load(args.after))
    except NothingComparable as problem:
        print(f"perflib: {problem}", file=sys.stderr)
        return NOTHING
    if args.json:
        args.json.write_text(json.dumps(comparison.to_dict(), indent=1) + "\n")
    if args.html:
        from .report.own_page import write_page  # half a second of figures

        write_page(args.html, f"{comparison.after} against {comparison.before}", comparison)
    print(comparison)
    return comparison.status


def _history(args: argparse.Namespace) -> None:
    from .runs.store import runs_in
    from .studies.history import history

    found = history(args.kernels, runs_in(args.folder) if args.folder else None, args.machine)
    if args.html:
        from .report.own_page import write_page  # half a second of figures

        write_page(args.html, f"History of {found.machine.cpu}", found.figure(), found)
    print(found)


def _growth(args: argparse.Namespace) -> int:
    from .scaling.classes import work_of
    from .scaling.files import read_curves
    from .scaling.fit import fit_scaling

    expected, bound = (_class(text) for text in (args.expect, args.at_most))
    for known in (expected, bound):
        if known is not None:
            work_of(known)  # a wrong word is refused once, not for every curve
    fits, status = {}, 0
    for curve in read_curves(args.file, args.unit):
        try:
            fit = fit_scaling(curve.sizes, curve.times_ns, work=expected)
            verdicts = [] if expected is None else [fit.verdict(expected)]
            if bound is not None:
                verdicts.append(fit.verdict(at_most=bound))
        except SampleError as problem:
            print(f"perflib: {curve.name}: {problem}", file=sys.stderr)
            status = 1
            continue
        lines = [f"{verdict}: {verdict.sentence}" for verdict in verdicts] or [str(fit)]
        print(f"{curve.name}: {'; '.join(lines)}")
        for advice in filter(None, dict.fromkeys(verdict.advice for verdict in verdicts)):
            print(f"    to decide: {advice}")
        fits[curve.name] = fit, lines
        status = max(status, int("inconsistent" in verdicts))
    if args.html:
        from .report.own_page import write_page  # half a second of figures
        from .scaling.figure import growth_figure

        parts = [part for name, (fit, lines) in fits.items() for part in (f"# {name}", *lines, growth_figure(fit), fit)]
        write_page(args.html, f"How the times of {args.file.name} grow", *parts)
    return status


def _class(text: str | None) -> float | str | None:
    """An exponent where it is a number, else the name of a class."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _fleet(args: argparse.Namespace) -> int:
    if args.verb == "show":
        from .studies.machines import load_fleet

        fleet = load_fleet(args.folder)
        if args.html:
            from .report.own_page import write_page  # half a second of figures

            write_page(args.html, "One question, many machines", fleet)
        print(fleet)
        return 0
    from .fleet.addresses import require_closed, tls

    address = args.address if args.verb == "worker" else args.scheduler
    require_closed(address, args.insecure)
    security = tls(address, args.tls_ca_file, args.tls_cert, args.tls_key)
    if args.verb == "worker":
        from .fleet.worker import serve

        serve(address, args.name, args.port, security, args.insecure)
        return 0
    from .fleet.gather import record

    settings = {"quick": args.quick, "peers": args.peers, "insecure": args.insecure, "security": security}
    fleet = record(address, args.folder, **settings)
    print(fleet)
    return 0 if len(fleet.usable) == len(fleet.machines) else 1


def _new(args: argparse.Namespace) -> None:
    from .report.new_notebook import copy_template

    print(copy_template(args.name))


def _lab(args: argparse.Namespace) -> None:
    from .report.new_notebook import copy_notebooks

    if find_spec("jupyterlab") is None:
        raise PerflibError("JupyterLab is not installed; install it: pip install 'perflib[lab]'")
    folder = copy_notebooks(args.folder)
    print(f"notebooks are in {folder}", flush=True)
    options = [f"--ServerApp.root_dir={folder}", "--ip=127.0.0.1", "--LabApp.news_url=None"]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        options.append("--allow-root")
    become("-m", "jupyterlab", *options)


def _runs(args: argparse.Namespace) -> None:
    from .runs.store import list_runs

    if not (runs := list_runs()):
        print("nothing is recorded; record a run: perflib record --quick")
    for path in runs:
        try:
            run = _load(path)
            state = "complete" if run.finished else "unfinished"
            facts = state, f"{sum(run.blocks.values())} samples", run.machine.cpu
        except RunError as problem:
            facts = (f"damaged: {problem}",)
        print("  ".join(map(on_one_line, (path.name, path.parent.name, *facts))))
