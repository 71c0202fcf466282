"""The `graphflow` command: demo, bench, ir, view, run, doctor, cache. Each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 when something was found wrong, 2 for wrong usage."""
    try:
        import graphflow.config  # noqa: F401  reads the environment
    except ValueError as error:
        print(f"graphflow: {error}", file=sys.stderr)
        return 2
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("graphflow: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has what it wanted (`graphflow ir ... | head`); nothing is left to be flushed at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0


def _parser() -> argparse.ArgumentParser:
    from graphflow import __version__
    from graphflow.bench import command as bench_command

    parser = argparse.ArgumentParser(
        prog="graphflow", description="A graph compiler for TensorFlow-style Python: see what it does, and how fast."
    )
    parser.add_argument("--version", action="version", version=f"graphflow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="train a network on handwritten digits and look inside, in seconds")
    demo.add_argument("--epochs", type=int, default=20, help="passes over the training images (default 20)")
    demo.add_argument("--full", action="store_true", help="print the whole IR, not its beginning")
    demo.add_argument("--seed", type=int, default=0, help="of the split, the weights and the order (default 0)")
    demo.set_defaults(run=_demo)

    bench = commands.add_parser("bench", help="measure graphflow against JAX, TensorFlow and PyTorch")
    bench_command.add_arguments(bench)
    bench.set_defaults(run=bench_command.run)

    ir = commands.add_parser(
        "ir",
        help="print a function's graph, passes or kernels",
        description="Trace and compile FUNCTION of FILE, not run it. With an input_signature it needs no --args.",
    )
    ir.add_argument(
        "target", metavar="FILE:FUNCTION", help="such as train.py:step, or train.py:model.step for a method"
    )
    ir.add_argument(
        "--args", metavar="LIST", help="argument types and Python values: 'f32[8,4], i64[n], 3'; a name is any extent"
    )
    ir.add_argument("--stage", default="final", help="traced, a pass's name, final (default), or all")
    ir.add_argument("--passes", action="store_true", help="print what each pass did instead")
    ir.add_argument(
        "--kernels", nargs="?", const="nest", metavar="FORM", help="print the kernels: nest, llvm, asm or python"
    )
    ir.set_defaults(run=_ir)

    view = commands.add_parser(
        "view",
        help="write one HTML file that shows a function's graph, passes, kernels and memory",
        description="Trace and compile FUNCTION of FILE, not run it, and write a page that needs no network.",
    )
    view.add_argument("target", metavar="FILE:FUNCTION", help="as for ir")
    view.add_argument("--args", metavar="LIST", help="argument types and Python values, as for ir")
    view.add_argument("--output", metavar="PATH", help="the file to write (default: FUNCTION.html)")
    view.set_defaults(run=_view)

    run = commands.add_parser(
        "run",
        help="replay a reproduction file",
        description="Compile and run the graph of a file that gf.debugging.reproduce wrote, run it node by node too, and compare the "
        "bits.",
        epilog="Exit status: 0 the results are the same in both modes, and those recorded; 1 they differ; 2 the file cannot be read or "
        "replayed; 3 the recorded error happened again; 4 another error, or none where one was recorded.",
    )
    run.add_argument("file", metavar="FILE", help="the reproduction file")
    how = run.add_mutually_exclusive_group()
    how.add_argument("--eager", action="store_true", help="run node by node only, without the compiler")
    how.add_argument("--debug", action="store_true", help="run node by node and print each node's values")
    how.add_argument("--stage", metavar="NAME", help="run the graph as a pass left it, node by node, and compare it")
    run.set_defaults(run=_run)

    doctor = commands.add_parser("doctor", help="check this installation and say what is wrong")
    doctor.set_defaults(run=_doctor)

    cache = commands.add_parser("cache", help="list, check or empty the cache of compiled code")
    cache.add_argument("action", nargs="?", choices=("list", "verify", "clear"), default="list")
    cache.set_defaults(run=_cache)
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    from graphflow.demo import run

    if arguments.epochs < 1:
        print("graphflow demo: --epochs must be at least 1", file=sys.stderr)
        return 2
    return run(arguments.epochs, arguments.full, arguments.seed)


# ir ------------------------------------------------------------------------------------------------------------------


def _ir(arguments: argparse.Namespace) -> int:
    from graphflow.errors import GraphflowError

    try:
        function = _find_function(arguments.target)
        given = _parse_arguments(arguments.args) if arguments.args else []
        print(_ir_text(function, given, arguments))
    except (GraphflowError, OSError, ValueError, TypeError) as error:
        print(f"graphflow ir: {error}", file=sys.stderr)
        return 1
    return 0


def _view(arguments: argparse.Namespace) -> int:
    from graphflow.errors import GraphflowError

    try:
        function = _find_function(arguments.target)
        given = _parse_arguments(arguments.args) if arguments.args else []
        _need_arguments(function, given)
        output = arguments.output or f"{arguments.target.rpartition(':')[2].rpartition('.')[2]}.html"
        print(function.view(output, *given))
    except (GraphflowError, OSError, ValueError, TypeError) as error:
        print(f"graphflow view: {error}", file=sys.stderr)
        return 1
    return 0


def _need_arguments(function: Any, given: list[Any]) -> None:
    if not given and function.input_signature is None and _takes_arguments(function):
        raise ValueError(
            "which arguments? Give their types, as in --args 'f32[8,4], f32[4]', or the function an input_signature"
        )


def _ir_text(function: Any, given: list[Any], arguments: argparse.Namespace) -> str:
    _need_arguments(function, given)
    if arguments.kernels:
        return str(function.kernels(*given, form=arguments.kernels))
    stages = function.stages(*given)
    if arguments.passes:
        return "\n".join(str(stage) for stage in stages)
    if arguments.stage == "all":
        return "\n\n".join(f"# {stage}\n{stage.graph}" for stage in stages)
    return str(function.ir(*given, stage=arguments.stage))


def _takes_arguments(function: Any) -> bool:
    import inspect

    parameters = inspect.signature(function.python_function).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return bool(needed)


def _find_function(target: str) -> Any:
    """The function that `FILE:NAME` names, decorated if it is not yet. Runs the file as a module, not as a script."""
    import contextlib
    import importlib.util
    from pathlib import Path

    import graphflow as gf

    file, separator, name = target.rpartition(":")
    if not separator or not file or not name:
        raise ValueError(f"expected FILE:FUNCTION, got {target!r}")
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"there is no file {file!r}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise ValueError(f"{file!r} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))  # so that the file can import its neighbours, as a script could
    with contextlib.redirect_stdout(sys.stderr):  # what the file prints must not end up in the dump
        specification.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            functions = [n for n, value in vars(module).items() if hasattr(value, "python_function")]
            raise ValueError(f"{file} has no {name!r}; its compiled functions: {', '.join(functions) or 'none'}")
        found = getattr(found, part)
    if hasattr(found, "get_concrete_function"):
        return found
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}, not a function")
    return gf.function(found)


def _parse_arguments(text: str) -> list[Any]:
    """`f32[8,4]` becomes a TensorSpec, in which a name is any extent; what is no type is a Python literal."""
    import ast
    import re

    from graphflow import TensorSpec
    from graphflow.dtypes import as_dtype, from_short

    found: list[Any] = []
    # A comma inside brackets or quotes does not separate arguments.
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\([^)]*\)|[^,\[('\"])+", text):
        argument = word.strip()
        tensor = re.fullmatch(r"([a-z]\w*)\[(.*)\]", argument)
        if tensor is None:
            try:
                found.append(ast.literal_eval(argument))
            except (ValueError, SyntaxError):
                raise ValueError(
                    f"--args: {argument!r} is neither a type (f32[8,4]; f32[] for a scalar) nor a Python value"
                ) from None
            continue
        name, extents = tensor.groups()
        try:
            dtype = from_short(name)
        except KeyError:
            dtype = as_dtype(name)
        shape = [int(extent) if extent.strip().isdecimal() else None for extent in extents.split(",") if extent.strip()]
        found.append(TensorSpec(shape, dtype))
    return found


# run -----------------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    from graphflow.debugging import read_reproduction
    from graphflow.errors import ReproductionError

    try:
        found = read_reproduction(arguments.file)
        found.require_replayable()
        for difference in found.foreign():
            print(f"graphflow run: {difference}; results and errors may differ", file=sys.stderr)
        return _replay(found, arguments)
    except (ReproductionError, OSError) as error:
        print(f"graphflow run: {error}", file=sys.stderr)
        return 2


def _replay(found: Any, arguments: argparse.Namespace) -> int:
    """Run as asked, print the outcome, and say how it compares with the record and between the modes."""
    hooks = []
    if arguments.debug:
        from graphflow.tracing.debug import node_logger

        hooks.append(node_logger(sys.stdout))
    if arguments.eager or arguments.debug:
        outcome = found.run_eagerly(hooks, frames=arguments.debug)
        other = None
    else:
        outcome = found.run()
        other = found.run_eagerly(stage=arguments.stage or "traced", silent=True)
    if outcome.error is not None:
        print(f"{type(outcome.error).__name__}: {outcome.error}")
    for place, array in enumerate(outcome.results):
        print(f"result {place}: {_array_line(array)}")
    names = [value.name for value in found.graph.inputs if value.is_variable]
    for name, array in zip(names, outcome.variables, strict=False):
        print(f"variable {name}: {_array_line(array)}")
    if other is not None:
        label = f"the graph after {arguments.stage}" if arguments.stage else "eager mode"
        if not outcome.same(other):
            shown = f": {type(other.error).__name__}: {other.error}" if other.error is not None else ""
            print(f"DIFFERENT: the compiled graph and {label} do not agree{shown}")
            return 1
        print(f"The compiled graph and {label} {'agree, bit for bit' if outcome.error is None else 'give this error'}.")
    return _against_record(found, outcome)


def _against_record(found: Any, outcome: Any) -> int:
    """Compare an outcome with the recorded one: the exit status."""
    about, recorded = found.about, found.about.get("error")
    if outcome.error is not None:
        if found.expects(outcome.error):
            print("The recorded error happened again.")
            return 3
        print(f"The record says {recorded or 'that the call succeeds'}: this is another error.")
        return 4
    if recorded == "VerifyError":
        print("The record says that eager and graph mode differ: here they do not.")
        return 0
    if recorded is not None:
        print(f"The record says {recorded}: here there is no error.")
        return 4
    if about.get("results") not in (None, outcome.digest()):
        print("DIFFERENT: the results do not have the recorded bits.")
        return 1
    if about.get("results"):
        print("The results have the recorded bits.")
    return 0


def _array_line(array: Any) -> str:
    from graphflow.dtypes import of_numpy
    from graphflow.runtime.host import shown

    shape = ",".join(map(str, array.shape))
    return f"{of_numpy(array.dtype).short}[{shape}] = {' '.join(shown(array, 3).split())}"


# doctor --------------------------------------------------------------------------------------------------------------


def _doctor(arguments: argparse.Namespace) -> int:
    import platform

    from graphflow import config
    from graphflow.bench.report import machine

    problems: list[str] = []
    lines = [f"system     {machine()}", f"python     {platform.python_version()} ({platform.python_implementation()})"]
    lines += [f"{name:<10} {version}" for name, version in _versions()]
    lines += _threads_line()
    lines += _cache_lines(problems)
    lines += _compile_line(problems)
    lines += [f"cuda       {_cuda_sentence()}"]
    lines += _debugging_lines()
    changed = [(name, value) for name, _, default, _ in config.table() if (value := config.get(name)) != default]
    lines += [f"flag       {name} = {value!r}" for name, value in changed] or ["flags      all at their defaults"]
    print("\n".join(lines))
    for problem in problems:
        print(f"PROBLEM    {problem}")
    print("Something is wrong, see above." if problems else "Everything is in order.")
    return 1 if problems else 0


def _debugging_lines() -> list[str]:
    """What the compiler compiles for, and what of gf.debugging is in force."""
    from graphflow import debugging
    from graphflow.runtime.cpu import llvm

    features = [word[1:] for word in llvm.features().split(",") if word.startswith("+")]
    wide = [
        word
        for word in ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "neon", "sve")
        if word in features
    ]
    state = ", ".join(f"{name}: {_state_text(value)}" for name, value in debugging.state().items())
    return [
        f"target     {llvm.host_cpu()}, vectors of {llvm.vector_bits()} bits ({' '.join(wide) or 'no known extensions'})",
        f"debugging  {state}",
    ]


def _state_text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value or "none")


def _versions() -> list[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("graphflow", "numpy", "numba", "llvmlite", "scipy", "networkx", "ml_dtypes", "numba-cuda"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            if name == "graphflow":
                from graphflow import __version__

                found.append((name, f"{__version__} (from a folder, not installed)"))
            elif name != "numba-cuda":
                found.append((name, "not installed"))
    return found


def _threads_line() -> list[str]:
    from graphflow import config
    from graphflow.runtime.cpu import pool

    reason = "the flag threads, GRAPHFLOW_THREADS" if config.thread_limit() else "one for each usable core"
    return [f"threads    {pool.threads()} ({reason})"]


def _cache_lines(problems: list[str]) -> list[str]:
    from graphflow.runtime.cpu import cache

    place = cache.directory()
    if place is None:
        return ["cache      off (GRAPHFLOW_CACHE=0): every process compiles anew"]
    entries = cache.entries()
    problems += [f"cache entry {entry.path}: {reason}; it will be recompiled" for entry, reason in cache.verify()]
    return [f"cache      {place}: {len(entries)} entries, {sum(entry.size for entry in entries) / 1e6:.1f} MB"]


def _compile_line(problems: list[str]) -> list[str]:
    """Compile and run something small, and compare it with NumPy. A failure is a line of the report, not its end."""
    import time

    import numpy as np

    import graphflow as gf
    from graphflow.runtime.cpu import cache

    values = np.linspace(-3, 3, 1000, dtype=np.float32)
    begin = time.perf_counter()
    try:
        result = gf.function(lambda x: gf.reduce_sum(gf.math.tanh(x) * x))(gf.constant(values))
        elapsed = time.perf_counter() - begin
        error = abs(float(result) - float(np.sum(np.tanh(values.astype(np.float64)) * values)))
    except Exception as failure:
        problems.append(f"compiling a small function failed: {type(failure).__name__}: {failure}")
        return ["compiler   does not work"]
    finally:
        problems += [f"cache: {message}" for message in cache.problems]
    if not error < 1e-2:
        problems.append(f"a compiled sum is off by {error}")
        return ["compiler   gives a wrong result"]
    return [f"compiler   works: traced, compiled and ran a small function in {elapsed * 1e3:.0f} ms"]


def _cuda_sentence() -> str:
    try:
        from graphflow.runtime.cuda import available

        usable = available.is_available()
    except Exception as error:  # a broken driver or CUDA package must not end the report
        return f"not available: {type(error).__name__}: {error}"
    if usable:
        kind = (
            "Numba's simulator runs the kernels, slowly"
            if available.is_simulator()
            else "a GPU is there and is used under gf.device('/GPU:0')"
        )
        return f"available: {kind}."
    return (
        f"not available: it needs an NVIDIA GPU with its driver and numba-cuda ({available.INSTALL}); "
        "everything runs on the CPU."
    )


# cache ---------------------------------------------------------------------------------------------------------------


def _cache(arguments: argparse.Namespace) -> int:
    import time

    from graphflow.runtime.cpu import cache

    place = cache.directory()
    if place is None:
        print("The cache is off (GRAPHFLOW_CACHE=0).")
        return 0
    if arguments.action == "clear":
        print(f"{place}: removed {cache.clear()} entries.")
    elif arguments.action == "verify":
        faults = cache.verify()
        for entry, reason in faults:
            print(f"{entry.path}: {reason}")
        print(f"{place}: {len(cache.entries())} entries, {len(faults)} of them damaged (they will be recompiled).")
        return 1 if faults else 0
    else:
        entries = cache.entries()
        for entry in entries:
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
            print(f"{entry.key[:16]}  {entry.size:>9,} bytes  last used {used}")
        print(f"{place}: {len(entries)} entries, {sum(entry.size for entry in entries) / 1e6:.1f} MB.")
    for problem in cache.problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
