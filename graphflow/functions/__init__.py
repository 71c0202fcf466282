"""The public tensor functions by family: compositions of the ops of graphflow.ops, with TensorFlow's names, defaults and edge cases.
`graphflow`, `graphflow.math`, `graphflow.nn`, `graphflow.linalg` and the other namespaces export them.

What holds of each of them unless its own text says otherwise: operands are tensors, variables, NumPy arrays, Python numbers and nested
lists of these; they have one dtype, which the result has too, and broadcast. DTypeError: mixed dtypes, or one that the function does
not take. ShapeError: shapes, ranks or axes that do not fit. IndexOutOfRangeError: a position outside of its axis. ArgumentError: an
argument that is none of what the function takes. InvalidArgumentError (the class of all these): any other value."""
