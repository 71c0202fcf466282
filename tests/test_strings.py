"""gf.string: what eager tensors of text do, what refuses them, and the errors of compiled functions that meet one."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, IndexOutOfRangeError, ShapeError
from graphflow.ir.op import OPS, Op

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "strings.md"
BLOCKS = re.compile(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def vector() -> gf.Tensor:
    return gf.constant(["a", b"bb", "c"])


def matrix() -> gf.Tensor:
    return gf.constant([["a", "b"], ["c", "d"]])


# Making -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", b"a"),
        (b"a\0", b"a\0"),
        ("é", "é".encode()),
        ("", b""),
        (np.str_("a"), b"a"),
        (np.bytes_(b"a"), b"a"),
        (["a", b"b"], [b"a", b"b"]),
        ([["a"], ["b\0"]], [[b"a"], [b"b\0"]]),
        ((), []),
        (np.array(["ab", "c"]), [b"ab", b"c"]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (np.array(["ab", b"c"], dtype=object), [b"ab", b"c"]),
        (np.array([], "U3"), []),
        ([np.array(["a"]), np.array(["b"])], [[b"a"], [b"b"]]),
        ([gf.constant("a"), "b"], [b"a", b"b"]),
    ],
)
def test_text_and_bytes_become_bytes(value: Any, expected: Any) -> None:
    tensor = gf.constant(value, gf.string)
    assert tensor.dtype is gf.string
    assert tensor.tolist() == expected
    assert {type(v) for v in tensor._array.reshape(-1)} <= {bytes}
    if len(value):
        assert gf.constant(value).dtype is gf.string
        assert gf.convert_to_tensor(value, dtype_hint=gf.float32).dtype is gf.string


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: gf.constant(["a", 1]), ["['a', 1]"]),
        (lambda: gf.constant([1.5, "a"]), ["[1.5, 'a']"]),
        (lambda: gf.constant(["a", None]), ["None"]),
        (lambda: gf.constant(np.array(["a", 1], dtype=object)), ["1 (int)"]),
        (lambda: gf.constant("a", gf.int32), ["'a'", "int32"]),
        (lambda: gf.constant(np.array(["a"]), gf.float32), ["'a'", "float32"]),
        (lambda: gf.constant(1, gf.string), ["1", "string"]),
        (lambda: gf.constant([1.5], gf.string), ["1.5", "string"]),
        (lambda: gf.constant([True], gf.string), ["True", "string"]),
        (lambda: gf.constant("\ud800"), ["UTF-8"]),
        (lambda: gf.constant(1.0) + "a", ["'a'", "float32"]),
        (lambda: vector() + 1, ["1", "string"]),
        (lambda: vector() + gf.constant(1), ["string", "int32"]),
        (lambda: vector() == 1, ["1", "string"]),
        (lambda: gf.ones([2], gf.string), ["1 (int)"]),
        (lambda: gf.ones_like(vector()), ["1 (int)"]),
        (lambda: gf.as_dtype(str), ["gf.string"]),
        (lambda: gf.as_dtype("text"), ["'text'", "string"]),
        (lambda: gf.string.max, ["string"]),
    ],
)
def test_what_is_no_string_is_an_error_that_says_so(make: Any, parts: list[str]) -> None:
    with pytest.raises(DTypeError) as caught:
        make()
    for part in parts:
        assert part in str(caught.value)


def test_rows_of_different_lengths() -> None:
    with pytest.raises(ShapeError, match="different lengths"):
        gf.constant([["a"], ["b", "c"]])


def test_the_dtype() -> None:
    assert gf.as_dtype("string") is gf.string
    assert all(gf.as_dtype(d) is gf.string for d in (object, np.dtype("O"), np.dtype("S3"), np.dtype("U3"), np.object_))
    assert gf.string == "string" and gf.string == np.object_ and gf.string != gf.int32 and gf.string != np.str_
    assert (repr(gf.string), gf.string.name, gf.string.size) == ("gf.string", "string", 0)
    assert gf.string.as_numpy_dtype is object and gf.string.is_string
    kinds = ("floating", "integer", "bool", "complex", "numeric", "unsigned", "narrow")
    assert not any(getattr(gf.string, f"is_{kind}") for kind in kinds)
    assert pickle.loads(pickle.dumps(gf.string)) is gf.string
    spec = gf.TensorSpec([None], gf.string)
    assert spec.is_compatible_with(vector()) and not spec.is_compatible_with(gf.constant([1]))
    assert gf.TensorSpec.from_tensor(vector()) == gf.TensorSpec([3], "string")


# Reading ----------------------------------------------------------------------------------------------------------------
def test_numpy_gives_bytes_and_never_the_tensors_own_array() -> None:
    tensor = vector()
    array = tensor.numpy()
    assert array.dtype == object and array.tolist() == [b"a", b"bb", b"c"]
    array[0] = b"z"
    np.asarray(tensor)[1] = b"z"
    assert tensor.tolist() == [b"a", b"bb", b"c"]
    assert type(tensor[1].numpy()) is bytes
    source = np.array([b"a", b"b"], dtype=object)
    kept = gf.constant(source)
    source[0] = b"z"
    assert kept.tolist() == [b"a", b"b"]
    assert np.asarray(tensor, dtype="S2").tolist() == [b"a", b"bb", b"c"]


def test_text_forms() -> None:
    one = gf.constant("a")
    assert repr(one) == "<gf.Tensor: shape=(), dtype=string, numpy=b'a'>"
    assert str(one) == "gf.Tensor(b'a', shape=(), dtype=string)"
    assert repr(gf.constant(["a"])) == "<gf.Tensor: shape=(1,), dtype=string, numpy=array([b'a'], dtype=object)>"
    assert str(vector()) == "gf.Tensor([b'a' b'bb' b'c'], shape=(3,), dtype=string)"
    assert repr(gf.Variable("a", name="v")) == "<gf.Variable 'v:0' shape=() dtype=string, numpy=b'a'>"


def test_python_protocols() -> None:
    assert len(vector()) == 3 and [t.numpy() for t in vector()] == [b"a", b"bb", b"c"]
    assert bool(gf.constant("a")) and not bool(gf.constant("")) and int(gf.constant("3")) == 3
    for wrong in (len, iter, hash):
        with pytest.raises(TypeError):
            wrong(gf.constant("a"))
    with pytest.raises(ShapeError, match="one element"):
        bool(vector())
    with pytest.raises(DTypeError, match="index"):
        [1, 2][gf.constant("a")]
    assert {gf.constant("a").ref()}
    for same in (copy.copy(vector()), copy.deepcopy(vector()), pickle.loads(pickle.dumps(vector()))):
        assert same.dtype is gf.string and same.tolist() == vector().tolist()


# What moves elements ----------------------------------------------------------------------------------------------------
def encoded(array: Any) -> Any:
    """Numbers as the strings that stand for them: 0 is the empty one, which is what padding adds."""
    return np.frompyfunc(lambda v: b"" if v == 0 else repr(v).encode(), 1, 1)(array)


#: op -> the operands (by number) that hold elements, where not all do
ELEMENTS = {"select": (1, 2), "gather": (0,), "gather_nd": (0,), "one_hot": (1, 2), "scatter_into": (0, 2)}
OTHERS = {
    "add",
    "equal",
    "not_equal",
    "dimension",
    "as_pairs",
    "from_pairs",
}  # the last two refuse them by their type rules
EFFECTS = {"constant", "print", "assert_true"}
MOVING = [op for op in OPS.values() if op.takes_strings and op.name not in OTHERS | EFFECTS]


@pytest.mark.parametrize("op", MOVING, ids=lambda op: op.name)
def test_ops_that_take_strings_move_them_as_they_move_numbers(op: Op) -> None:
    assert op.samples is not None and op.reference is not None
    used = 0
    for sample in op.samples():
        places = ELEMENTS.get(op.name, range(len(sample.arrays)))
        kinds = {sample.arrays[k].dtype for k in places}
        if sample.error is not None or kinds != {np.dtype("float64")} or sample.attributes.get("kind", "set") != "set":
            continue
        arrays = [encoded(a) if k in places else a for k, a in enumerate(sample.arrays)]
        attributes = dict(sample.attributes)
        if "constant" in attributes:
            attributes["constant"] = encoded(np.float64(attributes["constant"]))
        found = op(*map(gf.constant, arrays), **attributes)
        expected = encoded(np.asarray(op.reference(*sample.arrays, **sample.attributes)))
        assert found.dtype is gf.string and found.shape == np.shape(expected)
        assert found.tolist() == (expected.tolist() if isinstance(expected, np.ndarray) else expected)
        used += 1
    assert used


def test_the_ops_that_take_strings_are_the_moving_ones_and_few_others() -> None:
    names = {op.name for op in MOVING}
    assert {
        "reshape",
        "transpose",
        "concat",
        "pad",
        "select",
        "gather",
        "gather_nd",
        "one_hot",
        "scatter_into",
    } <= names
    assert {op.name for op in OPS.values() if op.takes_strings} - names == OTHERS | EFFECTS


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("gf.reshape(m, [4])", [b"a", b"b", b"c", b"d"]),
        ("gf.expand_dims(v, 0)", [[b"a", b"bb", b"c"]]),
        ("gf.squeeze(gf.constant([['a']]))", b"a"),
        ("gf.transpose(m)", [[b"a", b"c"], [b"b", b"d"]]),
        ("gf.concat([v, ['x']], 0)", [b"a", b"bb", b"c", b"x"]),
        ("gf.stack(['a', 'b'])", [b"a", b"b"]),
        ("gf.unstack(v)[1]", b"bb"),
        ("gf.split(v, [1, 2])[1]", [b"bb", b"c"]),
        ("gf.tile(v, [2])", [b"a", b"bb", b"c"] * 2),
        ("gf.repeat(v, [1, 2, 0])", [b"a", b"bb", b"bb"]),
        ("gf.gather(m, [[0], [1]], axis=1, batch_dims=1)", [[b"a"], [b"d"]]),
        ("gf.gather_nd(m, [[1, 0]])", [b"c"]),
        ("gf.slice(v, [1], [2])", [b"bb", b"c"]),
        ("gf.strided_slice(v, [0], [3], [2])", [b"a", b"c"]),
        ("v[::-1][..., None]", [[b"c"], [b"bb"], [b"a"]]),
        ("v[[2, 0]]", [b"c", b"a"]),
        ("v[gf.constant([True, False, True])]", [b"a", b"c"]),
        ("gf.boolean_mask(m, [[True, False], [False, True]])", [b"a", b"d"]),
        ("gf.where([True, False, True], v, 'z')", [b"a", b"z", b"c"]),
        ("gf.where([True, False], 'x', 'y')", [b"x", b"y"]),
        ("gf.reverse(v, [0])", [b"c", b"bb", b"a"]),
        ("gf.roll(v, 1, 0)", [b"c", b"a", b"bb"]),
        ("gf.pad(v, [[1, 1]])", [b"", b"a", b"bb", b"c", b""]),
        ("gf.pad(v, [[1, 0]], constant_values=b'p\\0')", [b"p\0", b"a", b"bb", b"c"]),
        ("gf.pad(v, [[0, 1]], constant_values=gf.constant('p'))", [b"a", b"bb", b"c", b"p"]),
        ("gf.pad(v, [[1, 1]], mode='REFLECT')", [b"bb", b"a", b"bb", b"c", b"bb"]),
        ("gf.broadcast_to(v, [2, 3])", [[b"a", b"bb", b"c"]] * 2),
        ("gf.zeros_like(v)", [b""] * 3),
        ("gf.zeros([2], gf.string)", [b"", b""]),
        ("gf.fill([2], 'x')", [b"x", b"x"]),
        ("gf.constant('x', shape=[2])", [b"x", b"x"]),
        ("gf.identity(v)", [b"a", b"bb", b"c"]),
        ("gf.cast(v, gf.string)", [b"a", b"bb", b"c"]),
        ("gf.one_hot([0, 1], 2, on_value='y', off_value='n')", [[b"y", b"n"], [b"n", b"y"]]),
        ("gf.unique(gf.constant(['b', 'a', 'b']))[0]", [b"b", b"a"]),
        ("gf.scatter_nd([[1], [1]], ['x', 'y'], [3])", [b"", b"xy", b""]),
        ("gf.scatter_nd([[1], [9]], ['x', 'y'], [3], 'IGNORE')", [b"", b"x", b""]),
        ("gf.tensor_scatter_nd_update(v, [[1]], ['x'])", [b"a", b"x", b"c"]),
        ("gf.dynamic_partition(v, [0, 1, 0], 2)[0]", [b"a", b"c"]),
        ("gf.dynamic_stitch([[0], [2]], [['a'], ['b']])", [b"a", b"", b"b"]),
        ("gf.reverse_sequence(m, [1, 2], seq_axis=1, batch_axis=0)", [[b"a", b"b"], [b"d", b"c"]]),
        ("gf.ensure_shape(v, [3])", [b"a", b"bb", b"c"]),
        ("gf.nn.embedding_lookup(v, [0])", [b"a"]),
        ("gf.map_fn(lambda s: s + 'x', v)", [b"ax", b"bbx", b"cx"]),
        ("gf.foldl(lambda a, s: a + s, v)", b"abbc"),
        ("gf.scan(lambda a, s: a + s, v)", [b"a", b"abb", b"abbc"]),
        ("gf.cond(gf.constant(True), lambda: v, lambda: v)", [b"a", b"bb", b"c"]),
        ("gf.while_loop(lambda i, s: i < 2, lambda i, s: (i + 1, s + 'x'), [gf.constant(0), v[0]])[1]", b"axx"),
        ("gf.TensorArray(gf.string, 2).write(0, 'a').write(1, 'b').stack()", [b"a", b"b"]),
        ("v + 'x'", [b"ax", b"bbx", b"cx"]),
        ("'x' + v", [b"xa", b"xbb", b"xc"]),
        ("gf.add(m, gf.constant(['x', 'y']))", [[b"ax", b"by"], [b"cx", b"dy"]]),
        ("gf.constant(b'x\\0') + 'y'", b"x\0y"),
        ("gf.add_n([v, v])", [b"aa", b"bbbb", b"cc"]),
        ("gf.py_function(lambda s: s + b'!', [v], gf.string)", [b"a!", b"bb!", b"c!"]),
        ("gf.numpy_function(lambda s: np.array([x.upper() for x in s]), [v], gf.string)", [b"A", b"BB", b"C"]),
    ],
)
def test_functions_of_strings(expression: str, expected: Any) -> None:
    found = eval(expression, {"gf": gf, "np": np, "v": vector(), "m": matrix()})
    assert found.dtype is gf.string
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("v == 'a'", [True, False, False]),
        ("v != b'a'", [False, True, True]),
        ("'a' == v", [True, False, False]),
        ("v == None", False),
        ("gf.equal(v, v)", [True] * 3),
        ("gf.not_equal(v, gf.constant('c'))", [True, True, False]),
        ("gf.shape(m)", [2, 2]),
        ("gf.size(m)", 4),
        ("gf.rank(m)", 2),
        ("gf.zeros_like(v, gf.int32)", [0, 0, 0]),
        ("gf.unique_with_counts(gf.constant(['b', 'a', 'b']), gf.int64)[1]", [0, 1, 0]),
        ("gf.unique_with_counts(gf.constant(['b', 'a', 'b']))[2]", [2, 1]),
        ("gf.unique(gf.constant([], gf.string))[1]", []),
        ("gf.math.count_nonzero(gf.constant(['a', '']))", 1),
        ("gf.numpy_function(lambda s: len(s), [v], gf.int64)", 3),
        ("gf.is_tensor(v)", True),
    ],
)
def test_functions_from_strings_to_others(expression: str, expected: Any) -> None:
    found = eval(expression, {"gf": gf, "v": vector(), "m": matrix()})
    assert (found.tolist() if isinstance(found, gf.Tensor) else found) == expected


# What refuses them ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expression", "op"),
    [
        ("v - v", "subtract"), ("v * v", "multiply"), ("-v", "negative"), ("v / v", "divide"), ("v // v", "floordiv"),
        ("v % v", "floormod"), ("v ** v", "pow"), ("abs(v)", "absolute"), ("~v", "bitwise_invert"), ("v & v", "bitwise_and"),
        ("v < 'b'", "less"), ("v >= v", "greater_equal"), ("v @ v", "matmul"), ("gf.reduce_sum(v)", "reduce_sum"),
        ("gf.reduce_max(v)", "reduce_max"), ("gf.argmax(v)", "argmax"), ("gf.sort(v)", "argsort"), ("gf.exp(v)", "exp"),
        ("gf.searchsorted(v, v)", "search_sorted"), ("gf.cast(v, gf.int32)", "cast"), ("gf.cast([1], gf.string)", "cast"),
        ("gf.bitcast(v, gf.int32)", "bitcast"), ("gf.math.is_nan(v)", "is_nan"), ("gf.range(3, dtype=gf.string)", "iota"),
        ("gf.nn.relu(v)", "relu"), ("gf.debugging.assert_less(v, v)", "less"), ("gf.logical_not(v)", "logical_not"),
        ("gf.random.uniform([2], dtype=gf.string)", "uniform"),
    ],
)  # fmt: skip
def test_other_ops_name_themselves_and_the_dtype(expression: str, op: str) -> None:
    with pytest.raises(DTypeError) as caught:
        eval(expression, {"gf": gf, "v": vector()})
    assert op in str(caught.value)
    assert "str" in str(caught.value)


def test_an_index_outside_names_index_and_extent() -> None:
    for call in (
        lambda: gf.gather(vector(), [5]),
        lambda: gf.gather_nd(vector(), [[5]]),
        lambda: gf.gather(vector(), [-5]),
    ):
        with pytest.raises(IndexOutOfRangeError, match=r"index -?5, extent 3"):
            call()
    with pytest.raises(IndexOutOfRangeError):
        gf.tensor_scatter_nd_update(vector(), [[7]], ["x"])
    with pytest.raises(ShapeError, match="broadcast"):
        vector() == gf.constant(["a", "b"])  # noqa: B015


# Variables, tapes, effects ----------------------------------------------------------------------------------------------
def test_variables() -> None:
    variable = gf.Variable(["a", "b"])
    assert variable.dtype is gf.string
    variable.assign(["c", "d"])
    variable[0].assign("z")
    assert variable.numpy().tolist() == [b"z", b"d"]
    variable.scatter_nd_update([[1]], ["q"])
    variable.assign_add(["1", "2"])
    assert (variable + "!").tolist() == [b"z1!", b"q2!"]
    array = variable.numpy()
    array[0] = b"other"
    assert variable.numpy()[0] == b"z1"
    for wrong, error in (([1, 2], DTypeError), (["a"], ShapeError)):
        with pytest.raises(error):
            variable.assign(wrong)
    for same in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        same.assign(["x", "y"])
        assert variable.numpy().tolist() == [b"z1", b"q2"]


def test_a_tape_gives_no_gradient_of_strings() -> None:
    text, x, words = gf.constant(["a"]), gf.Variable(2.0), gf.Variable("w")
    with gf.GradientTape(persistent=True) as tape:
        with pytest.warns(UserWarning, match="string"):
            tape.watch(text)
        joined = text + words
        y = x * x * gf.cast(gf.size(joined), gf.float32)
    assert [None if g is None else g.numpy() for g in tape.gradient(y, [x, text, words])] == [4.0, None, None]


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    out = {"output_stream": sys.stdout}
    gf.print(gf.constant("it's é"), **out)
    gf.print(matrix(), "x", gf.constant("it's é\n\t\"\\"), **out)
    gf.print({"k": vector()}, **out)
    gf.print(gf.constant([b"\xff\0\x01ab\x7f", "é"]), **out)
    assert capsys.readouterr().out.splitlines() == [
        "it's é",
        '[["a" "b"]',
        ' ["c" "d"]] x "it\\\'s é\\n\\t\\"\\\\"',
        """{'k': ["a" "bb" "c"]}""",
        '["\\377\\000\\001ab\\177" "é"]',
    ]


def test_assertions() -> None:
    gf.debugging.assert_equal(vector(), vector())
    gf.debugging.assert_none_equal(vector(), "q")
    gf.debugging.assert_type(vector(), gf.string)
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"x = b'bb' and y = b'a' at \[1\]"):
        gf.debugging.assert_equal(vector(), "a")


# Compiled functions -----------------------------------------------------------------------------------------------------
def test_python_strings_stay_python_values_in_a_compiled_function() -> None:
    @gf.function
    def call(x: Any, mode: str) -> Any:
        return {"y": x + 1 if mode == "up" else x - 1, "mode": mode}

    assert call(gf.constant(1), "up")["y"].numpy() == 2
    found = call(gf.constant(1), "down")
    assert found["y"].numpy() == 0 and found["mode"] == "down"


def test_a_string_tensor_in_a_compiled_function_is_one_typed_error_with_line_and_next_step() -> None:
    words, variable = gf.constant(["a", "b"]), gf.Variable("w")

    @gf.function
    def argument(x: Any) -> Any:
        return x

    @gf.function
    def captured(x: Any) -> Any:
        return gf.gather(words, x)

    @gf.function
    def constant(x: Any) -> Any:
        return x, gf.zeros([2], gf.string)

    @gf.function
    def read(x: Any) -> Any:
        return x, variable + "a"

    @gf.function
    def written(x: Any) -> Any:
        variable.assign("v")
        return x

    @gf.function
    def declared(x: Any) -> Any:
        return gf.numpy_function(lambda v: b"q", [x], gf.string)

    @gf.function(input_signature=[gf.TensorSpec([None], gf.string)])
    def signature(x: Any) -> Any:
        return x

    number = gf.constant([1])
    for function, value, line in (
        (argument, words, "function(value)"),
        (argument, np.array(["a"]), "function(value)"),
        (argument, variable, "function(value)"),
        (captured, number, "gf.gather(words, x)"),
        (constant, number, "gf.zeros([2], gf.string)"),
        (read, number, 'variable + "a"'),
        (written, number, 'variable.assign("v")'),
        (declared, number, "gf.numpy_function("),
        (signature, words, "function(value)"),
    ):
        for _ in range(2):
            with pytest.raises(DTypeError) as caught:
                function(value)
            message = str(caught.value)
            assert "string tensors are eager only" in message and caught.value.hint
            assert "test_strings.py" in message and line in message
    assert variable.numpy() == b"w"


def test_py_function_meets_string_tensors_in_a_compiled_function() -> None:
    words = gf.constant(["a", "bcd"])

    @gf.function
    def length(x: Any) -> Any:
        return gf.py_function(lambda k: len(words[int(k)].numpy()), [x], gf.TensorSpec([], gf.int32)) + 1

    assert [length(gf.constant(k)).numpy() for k in (0, 1)] == [2, 4]


def test_functions_run_eagerly_take_string_tensors() -> None:
    @gf.function
    def call(x: Any) -> Any:
        return x + "!"

    gf.config.run_functions_eagerly(True)
    try:
        assert call(gf.constant("a")).numpy() == b"a!"
    finally:
        gf.config.run_functions_eagerly(False)


# The document -----------------------------------------------------------------------------------------------------------
def printed(source: str, folder: Path) -> str:
    name = source.splitlines()[0].removeprefix("# ")
    (folder / name).write_text(source, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, name],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(f"{folder}{os.sep}", "")


def test_every_example_of_the_document_gives_the_output_below_it(tmp_path: Path) -> None:
    examples = BLOCKS.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(examples) == 2
    for source, shown in examples:
        assert printed(source, tmp_path) == shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        text = BLOCKS.sub(
            lambda m: f"```python\n{m[1]}```\n```text\n{printed(m[1], Path(place).resolve())}```",
            DOCUMENT.read_text(encoding="utf-8"),
        )
    DOCUMENT.write_text(text, encoding="utf-8")
