"""The public tensor functions by family: compositions of the ops of graphflow.ops, with TensorFlow's names, defaults and edge cases.
`graphflow`, `graphflow.math`, `graphflow.nn`, `graphflow.linalg` and the other namespaces export them."""
