"""Compares graphflow's public names and signatures with TensorFlow's and writes docs/names.md.

    python tools/tensorflow_names.py            # writes docs/names.md; fails where a name is missing or a signature differs unexplained
    python tools/tensorflow_names.py --check    # the same, and fails where docs/names.md is not what would be written

Needs TensorFlow 2.21. Every public callable of the namespaces below is present in graphflow, out of scope (OUT says why), or missing.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

import graphflow as gf

TARGET = Path(__file__).parents[1] / "docs" / "names.md"
NAMESPACES = (
    "",
    "math",
    "math.special",
    "nn",
    "linalg",
    "bitwise",
    "signal",
    "random",
    "debugging",
    "errors",
    "image",
    "nest",
    "autograph",
)
CLASSES = ("Variable", "TensorShape", "Tensor")

SPARSE = "sparse or ragged tensors"
GRAPH = "TensorFlow's own graphs, operations and type protocols"
FILES = "files, plugins and protocol buffers"
TEXT = "strings"
PICTURES = "image processing: only resize is in scope"
DISTRIBUTION = "distribution and devices of a cluster"
KERAS = "Keras cells"
STATE = "state hidden inside an operation"
OPERATORS = "lazy linear operators: tensorflow/probability style objects over the functions here"
RAW = "a raw operation that is exported by accident: use the public function"
V1 = "TensorFlow 1"

OUT: dict[str, str] = {}


def _out(reason: str, names: str, prefix: str = "") -> None:
    OUT.update({prefix + name: reason for name in names.split()})


_out(GRAPH, "AggregationMethod CriticalSection Graph NoneTensorSpec Operation OptionalSpec RegisterGradient TensorArraySpec TypeSpec "
     "no_gradient nondifferentiable_batch_function register_tensor_conversion_function import_graph_def check_pinned")  # fmt: skip
_out(DISTRIBUTION, "DeviceSpec VariableAggregation VariableSynchronization")
_out(SPARSE, "IndexedSlicesSpec RaggedTensor RaggedTensorSpec SparseTensor SparseTensorSpec edit_distance ragged_fill_empty_rows "
     "ragged_fill_empty_rows_grad")  # fmt: skip
_out(SPARSE, "ctc_beam_search_decoder ctc_greedy_decoder embedding_lookup_sparse safe_embedding_lookup_sparse", "nn.")
_out(FILES, "load_library load_op_library make_ndarray make_tensor_proto")
_out(TEXT, "as_string fingerprint")
_out(KERAS, "RNNCellDeviceWrapper RNNCellDropoutWrapper RNNCellResidualWrapper", "nn.")
_out(STATE, "nn.learned_unigram_candidate_sampler random.learned_unigram_candidate_sampler")
_out(
    RAW,
    "fftnd ifftnd irfftnd rfftnd approx_top_k conv conv2d_backprop_filter_v2 conv2d_backprop_input_v2 random_index_shuffle",
)
_out("TensorFlow's log verbosity and its tracing aid", "autograph.set_verbosity autograph.trace")
_out(V1, "Tensor.name")
_out(GRAPH, "cast flatten from_tensors to_tensors placeholder_value", "TensorShape.")
_out(FILES, "as_proto experimental_as_proto experimental_from_proto experimental_type_proto", "TensorShape.")
_out(V1, "eval experimental_ref OVERLOADABLE_OPERATORS", "Tensor.")
_out(V1, "SaveSliceInfo count_up_to eval experimental_ref from_proto graph initial_value initialized_value initializer load op to_proto",
     "Variable.")  # fmt: skip
_out(DISTRIBUTION, "aggregation synchronization", "Variable.")


def reason_out(name: str) -> str | None:
    """Why a name is out of scope, or None."""
    if name.startswith("image.") and name not in ("image.resize", "image.ResizeMethod"):
        return PICTURES
    if name.startswith("linalg.LinearOperator"):
        return OPERATORS
    return OUT.get(name)


#: a signature that differs, and why
ACCEPTED: dict[str, str] = {
    "function": "reduce_retracing is on by default; retrace_limit, on_retrace and strict are graphflow's own",
    "Assert": "data may be left out",
    "debugging.Assert": "data may be left out",
    "random.create_rng_state": "the algorithm may be left out: there is one",
    "meshgrid": "the keywords are named",
    "print": "the keywords are named",
    **dict.fromkeys(
        ("foldl", "foldr", "map_fn", "scan", "while_loop"),
        "recompute is graphflow's own: bodies run again in the gradient",
    ),
}


def public(namespace: Any, prefix: str) -> dict[str, Any]:
    """The callables of a namespace (of a class also its properties), by their names."""
    found = {}
    for name in dir(namespace):
        if name.startswith("_"):
            continue
        value = getattr(namespace, name)
        if inspect.isclass(namespace) or callable(value):
            found[f"{prefix}{name}"] = value
    return found


def parameters(function: Any) -> list[tuple[str, str]] | None:
    """The parameters of a callable with their kinds and defaults as text; None where they cannot be read."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    found = []
    for own in signature.parameters.values():
        default = "" if own.default is own.empty else _text(own.default)
        stars = {own.VAR_POSITIONAL: "*", own.VAR_KEYWORD: "**"}.get(own.kind, "")
        found.append((stars + own.name, default))
    return found


def _text(default: Any) -> str:
    name = getattr(default, "name", None)
    if isinstance(name, str) and type(default).__name__ in ("DType", "UnconnectedGradients"):
        return name
    if inspect.isfunction(default):
        return default.__name__
    if isinstance(default, (list, tuple)):
        return str(tuple(default))
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return repr(float(default))
    return repr(default)


def same(ours: list[tuple[str, str]], theirs: list[tuple[str, str]]) -> bool:
    """Equal names, order and defaults; the default of `name`, which is not used, may be another."""
    return [p if p[0] != "name" else ("name", "") for p in ours] == [
        p if p[0] != "name" else ("name", "") for p in theirs
    ]


def shown(found: list[tuple[str, str]]) -> str:
    """Parameters as text."""
    return "(" + ", ".join(name + (f"={default}" if default else "") for name, default in found) + ")"


def resolve(root: Any, path: str) -> Any:
    """The attribute at a dotted path, or None."""
    for part in path.split("."):
        root = getattr(root, part, None) if part else root
    return root


def compare(tf: Any) -> tuple[list[str], dict[str, str], list[str], dict[str, tuple[str, str]]]:
    """(present, out of scope with the reason, missing, name -> both signatures that differ)."""
    present, out, missing, differ = [], {}, [], {}
    for namespace in (*NAMESPACES, *CLASSES):
        theirs = resolve(tf, namespace)
        for name, function in public(theirs, f"{namespace}." if namespace else "").items():
            ours = resolve(gf, name)
            if ours is None and not hasattr(resolve(gf, namespace), name.rpartition(".")[2]):
                reason = reason_out(name)
                if reason is None:
                    missing.append(name)
                else:
                    out[name] = reason
                continue
            present.append(name)
            a, b = parameters(ours), parameters(function)
            if (
                namespace not in CLASSES
                and not inspect.isclass(function)
                and a is not None
                and b is not None
                and not same(a, b)
            ):
                differ[name] = (shown(a), shown(b))
    return present, out, missing, differ


def document(present: list[str], out: dict[str, str], missing: list[str], differ: dict[str, tuple[str, str]]) -> str:
    """docs/names.md."""
    lines = [
        "# TensorFlow's names",
        "",
        "Written by `python tools/tensorflow_names.py` from TensorFlow 2.21 and this checkout: do not edit.",
        "",
        f"Public callables of {', '.join('`tf.' + n + '`' if n else '`tf`' for n in NAMESPACES)} and members of "
        f"{', '.join('`tf.' + n + '`' for n in CLASSES)}: {len(present)} present, {len(out)} out of scope, {len(missing)} missing. "
        "Names present have TensorFlow's parameters, order and defaults, but for those listed under Signatures.",
        "",
        "## Out of scope",
        "",
        "| why | names |",
        "| --- | --- |",
    ]
    for reason in sorted(set(out.values())):
        lines.append(f"| {reason} | {' '.join(f'`{n}`' for n in sorted(out) if out[n] == reason)} |")
    lines += ["", "## Missing", "", *([f"- `{n}`" for n in missing] or ["None."]), "", "## Signatures that differ", ""]
    lines += ["| name | graphflow | TensorFlow | why |", "| --- | --- | --- | --- |"]
    for name, (ours, theirs) in differ.items():
        lines.append(
            f"| `{name}` | `{ours}` | `{theirs}` | {ACCEPTED.get(name, '**not explained**')} |".replace("|`", "| `")
        )
    lines += ["", "## Present", ""]
    for namespace in (*NAMESPACES, *CLASSES):
        own = [n for n in present if n.rpartition(".")[0] == namespace]
        title = f"tf.{namespace}" if namespace else "tf"
        lines += [f"`{title}`: {' '.join(n.rpartition('.')[2] for n in own)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="fail where docs/names.md is not up to date")
    check = options.parse_args().check
    try:
        import tensorflow as tf
    except ImportError:
        print("TensorFlow is not installed, so there is nothing to compare with: pip install tensorflow-cpu==2.21")
        return 2
    present, out, missing, differ = compare(tf)
    text = document(present, out, missing, differ)
    stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    unexplained = [name for name in differ if name not in ACCEPTED]
    idle = sorted(set(OUT) - set(out)) + sorted(set(ACCEPTED) - set(differ))
    for label, names in (("missing", missing), ("signature differs", unexplained), ("listed for nothing", idle)):
        for name in names:
            print(f"{label}: {name}", *(differ.get(name, ()) if label != "missing" else ()))
    if check and stale:
        print("docs/names.md is not up to date: run python tools/tensorflow_names.py")
    return int(bool(missing or unexplained or idle or check and stale))


if __name__ == "__main__":
    sys.exit(main())
