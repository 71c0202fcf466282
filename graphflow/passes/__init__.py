"""Passes: graph -> graph, each under a PassContext (see manager). pipeline.PIPELINE is the ordered list."""
