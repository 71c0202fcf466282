"""What all optimizers share: the step counter, the learning rate, slot variables, clipping, and `apply_gradients`."""

from __future__ import annotations

import inspect
import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..autodiff.record import recorders
from ..autodiff.tape import GradientTape
from ..dtypes import DType, float32, int64
from ..errors import DTypeError, ShapeError, UnimplementedError
from ..functions.array_ops import where, zeros_like
from ..functions.control_flow import cond
from ..indexed_slices import FewRows
from ..ir.source import user_level
from ..math import cast, minimum, reduce_sum, sqrt, square
from ..math import maximum as larger_of
from ..ops.rules import number
from ..tensor import Tensor, active_trace, convert_to_tensor
from ..tracing.function import init_scope
from ..variable import Variable

__all__ = ["LearningRate", "Optimizer", "Update"]

LearningRate = float | Variable | Tensor | Callable[[Any], Any]
Update = tuple[Tensor, Variable]
#: id of an optimizer -> id of a variable -> its place. Not kept in the optimizer: ids do not survive pickling and copying
_places: dict[int, dict[int, int]] = {}


class Optimizer:
    """Base of the optimizers. A subclass names its slots and computes one variable's update.

    `learning_rate` is a number (kept in a float32 variable that may be assigned to, between the steps of a compiled
    function too) or a callable that is given `iterations` and returns the rate, such as a schedule. `weight_decay`
    multiplies each variable by `1 - weight_decay * learning_rate` before its update. `clipvalue` bounds each gradient
    element, `clipnorm` each gradient's norm, `global_clipnorm` the norm of all together; at most one of the three. All
    arithmetic is done in each variable's own dtype.

    `use_ema` keeps an average of each variable, `a = ema_momentum * a + (1 - ema_momentum) * w` after each step, which is put in the
    variable's place every `ema_overwrite_frequency` steps and by `finalize_variable_values`. `loss_scale_factor` divides the
    gradients, for a loss that was multiplied by it (scale_loss). `gradient_accumulation_steps`: only every so many calls is a step,
    with the mean of the gradients since the last one; `iterations` counts steps. A variable's `constraint` is applied after each call.
    The other settings are part of a compiled step, so they cannot
    be changed once the optimizer is built.
    """

    #: the names of a variable's slots, in the order in which they are made; a subclass may narrow them on the instance
    slot_names: tuple[str, ...] = ()
    #: its state stands in variables: that they were made is not taken back when a branch or loop is traced once more
    __graphflow_own_state__ = True

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        given = [rule for rule in (clipnorm, clipvalue, global_clipnorm) if rule is not None]
        if len(given) > 1:
            raise ValueError("optimizer: give at most one of clipnorm, clipvalue and global_clipnorm")
        if any(rule <= 0 for rule in given):
            raise ValueError(f"optimizer: a clipping bound must be positive, got {given[0]}")
        self.name = name or type(self).__name__.lower()
        self.weight_decay = None if weight_decay is None else number("optimizer", "weight_decay", weight_decay)
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        if not 0 <= ema_momentum <= 1:
            raise ValueError(f"optimizer: ema_momentum must lie between 0 and 1, got {ema_momentum}")
        for label, count, least in (
            ("ema_overwrite_frequency", ema_overwrite_frequency, 1),
            ("gradient_accumulation_steps", gradient_accumulation_steps, 2),
        ):
            if count is not None and (not isinstance(count, int) or count < least):
                raise ValueError(f"optimizer: {label} must be an integer of at least {least}, got {count!r}")
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._undecayed: tuple[tuple[Variable, ...], tuple[str, ...]] = (), ()
        self._variables: list[Variable] = []
        self._slots: list[dict[str, Variable]] = []  # in the order of _variables
        #: while some rows are updated by themselves: these rows of the variable, and of its slots
        self._row_slots: tuple[Variable, dict[str, Variable]] | None = None
        with init_scope():
            self._iterations = Variable(0, trainable=False, name="iteration", dtype=int64)
            self._learning_rate: Variable | Callable[[Any], Any]
            if isinstance(learning_rate, Variable) or (
                callable(learning_rate) and not isinstance(learning_rate, Tensor)
            ):
                self._learning_rate = learning_rate
                self._rate_takes_calls = isinstance(learning_rate, Variable) or _takes_argument(learning_rate)
            else:
                self._learning_rate = Variable(learning_rate, trainable=False, name="learning_rate", dtype=float32)
        self._built = False

    # Settings and state ----------------------------------------------------------------------------------------------
    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_built", False) and not name.startswith("_") and name not in ("learning_rate", "iterations"):
            raise AttributeError(
                f"{type(self).__name__}.{name} cannot be changed: compiled steps have its value built in; "
                "make a new optimizer"
            )
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> Any:
        """The rate: a variable to read or assign to, or what the callable gives: a schedule is given the number of calls so far,
        and so is any function that takes an argument."""
        if isinstance(self._learning_rate, Variable):
            return self._learning_rate
        given = (self._iterations,) if self._rate_takes_calls else ()
        return self._learning_rate(*given)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not isinstance(self._learning_rate, Variable):
            raise ValueError(
                "optimizer: its learning rate follows a schedule, so it cannot be set; make a new optimizer"
            )
        if callable(value) and not isinstance(value, (Variable, Tensor)):
            raise TypeError("optimizer: give a schedule when the optimizer is made; here the rate must be a number")
        self._learning_rate.assign(value)

    @property
    def iterations(self) -> Any:
        """How many updates were applied: an int64 variable (a tensor where gradients are accumulated)."""
        steps = self.gradient_accumulation_steps
        return self._iterations if steps is None else self._iterations // steps

    @property
    def variables(self) -> list[Variable]:
        """All state, to save and restore: iterations, the rate unless it is scheduled, then each variable's slots."""
        own = [self._learning_rate] if isinstance(self._learning_rate, Variable) else []
        return [self._iterations, *own, *(slot for slots in self._slots for slot in slots.values())]

    @property
    def built(self) -> bool:
        """Whether the slot variables exist."""
        return self._built

    def build(self, variables: Iterable[Variable]) -> None:
        """Make the slot variables of `variables`; the first `apply_gradients` does it too.

        A later call changes nothing for variables that are known and raises `ValueError` for others.

        Raises `DTypeError` for a variable whose dtype is not floating.
        """
        wanted = list(variables)
        if self._built:
            self._check_known(wanted)
            return
        for variable in wanted:
            if not (variable.dtype.is_floating or variable.dtype.is_complex):
                raise DTypeError(
                    f"optimizer: variable {variable.name} has dtype {variable.dtype.name}; only floats train, and complex numbers"
                )
        with init_scope():
            known = set(map(id, self._variables))
            for variable in wanted:
                if id(variable) not in known:
                    known.add(id(variable))
                    self._variables.append(variable)
                    self._slots.append({name: self._make_slot(name, variable) for name in self._own_slots()})
        self._built = True
        trace = active_trace.get()
        if trace is not None:  # then the function is traced again, and that trace finds the optimizer built
            for variable in self.variables:
                trace.created(variable)

    def slot(self, variable: Variable, name: str) -> Variable:
        """A variable's slot, such as Adam's `momentum`. Raises `KeyError` for an unknown variable or name."""
        if self._row_slots is not None and self._row_slots[0] is variable:
            return self._row_slots[1][name]
        position = self._position(variable)
        if position is None:
            raise KeyError(f"optimizer: it was not built for variable {variable.name}")
        return self._slots[position][name]

    def _position(self, variable: Variable) -> int | None:
        """The variable's place in the list of those it was built for."""
        places = _places.get(id(self))
        place = None if places is None else places.get(id(variable))
        if place is None or place >= len(self._variables) or self._variables[place] is not variable:
            if places is None:
                weakref.finalize(self, _places.pop, id(self), None)
            places = _places[id(self)] = {id(known): k for k, known in enumerate(self._variables)}
            place = places.get(id(variable))
        return place

    def initial_slot_value(self, name: str) -> float:
        """What a slot's elements start at."""
        return 0.0

    def _own_slots(self) -> tuple[str, ...]:
        """The names of all slots: those that any optimizer may have, then the subclass's."""
        average = ("average",) if self.use_ema else ()
        collected = ("gradient_accumulator",) if self.gradient_accumulation_steps is not None else ()
        return *average, *collected, *self.slot_names

    def _make_slot(self, name: str, variable: Variable) -> Variable:
        import numpy as np

        value = self.initial_slot_value(name) if name in self.slot_names else 0.0
        start = np.full(tuple(variable.shape), value, dtype=variable.dtype.numpy)
        label = variable.name.removesuffix(":0")
        return Variable(start, trainable=False, name=f"{label}_{name}", dtype=variable.dtype)

    def _check_known(self, variables: Sequence[Variable]) -> None:
        for variable in variables:
            if self._position(variable) is None:
                raise ValueError(
                    f"optimizer: variable {variable.name} is not one of those it was built for; make a new optimizer, "
                    "or call build with all variables before the first step"
                )

    # Updating --------------------------------------------------------------------------------------------------------
    def minimize(self, loss: Any, var_list: Any, tape: GradientTape | None = None) -> Variable:
        """Compute the gradients of `loss` (a callable, or a tensor computed under `tape`) and apply them.

        Raises `ValueError` when `loss` is a tensor and there is no tape. Returns `iterations`.
        """
        if not callable(loss) and tape is None:
            raise ValueError(
                "minimize: a loss that is a tensor needs the tape it was computed under; or pass a callable"
            )
        if callable(loss):
            with GradientTape() as own_tape:
                value = loss()
            tape = own_tape
        else:
            value = loss
        assert tape is not None
        wanted = list(var_list() if callable(var_list) else var_list)
        return self.apply_gradients(zip(tape.gradient(value, wanted), wanted, strict=True))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Variable:
        """Update each variable by its gradient, given as pairs of the same shape and dtype. Returns `iterations`.

        Pairs whose gradient is None are skipped with a warning. Raises `ValueError` when all are None, or for a
        variable that the optimizer was not built for; `ShapeError` or `DTypeError` for a gradient that does not fit.
        Nothing is changed then.
        """
        pairs = list(grads_and_vars)
        if all(gradient is None for gradient, _ in pairs):
            names = ", ".join(variable.name for _, variable in pairs) or "none given"
            raise ValueError(
                f"apply_gradients: no variable has a gradient ({names}); tape.why_none(loss, variable) says why"
            )
        updates = [_checked(gradient, variable) for gradient, variable in pairs if gradient is not None]
        self.build(variable for _, variable in pairs)
        skipped = [variable.name for gradient, variable in pairs if gradient is None]
        if skipped:
            warnings.warn(
                f"apply_gradients: no gradient for {', '.join(skipped)}; left as they are",
                UserWarning,
                stacklevel=user_level(),
            )
        if self.loss_scale_factor is not None:
            updates = [(gradient / self.loss_scale_factor, variable) for gradient, variable in updates]
        every = self.gradient_accumulation_steps
        if every is None:
            self._step(updates)
        else:
            is_step = (self._iterations + 1) % every == 0
            cond(is_step, lambda: self._step_with_collected(updates), lambda: self._collect(updates))
        for _, variable in updates:
            self._average(variable)
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        self._iterations.assign_add(1)
        return self._iterations

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Variable] | None = None) -> None:
        """apply_gradients for a list of gradients and one of variables (by default those that the optimizer was built for)."""
        variables = self._variables if trainable_variables is None else list(trainable_variables)
        gradients = list(grads)
        if len(gradients) != len(variables):
            raise ValueError(f"apply: {len(gradients)} gradients for {len(variables)} variables")
        self.apply_gradients(zip(gradients, variables, strict=True))

    def scale_loss(self, loss: Any) -> Any:
        """The loss times loss_scale_factor, if there is one."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Let these variables, and those whose name matches one of the patterns, be without weight decay. Raises ValueError once the
        optimizer is built."""
        if self._built:
            raise ValueError("exclude_from_weight_decay: call it before the optimizer is built")
        self._undecayed = tuple(var_list or ()), tuple(var_names or ())

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Put the averages in the place of the variables, if there are any (use_ema)."""
        if self.use_ema:
            for variable in var_list:
                variable.assign(self.slot(variable, "average").value())

    def _decays(self, variable: Variable) -> bool:
        excluded, patterns = self._undecayed
        return self.weight_decay is not None and not (
            any(variable is each for each in excluded) or any(re.search(pattern, variable.name) for pattern in patterns)
        )

    def _average(self, variable: Variable) -> None:
        if not self.use_ema:
            return
        average = self.slot(variable, "average")
        momentum = cast(self.iterations != 0, variable.dtype) * self.ema_momentum
        new = momentum * average + (1.0 - momentum) * variable
        average.assign(new)
        if self.ema_overwrite_frequency is not None:
            is_time = (self.iterations + 1) % self.ema_overwrite_frequency == 0
            variable.assign(where(is_time, new, variable.value()))

    def _collect(self, updates: list[Update]) -> None:
        for gradient, variable in updates:
            self.slot(variable, "gradient_accumulator").assign_add(gradient)

    def _step_with_collected(self, updates: list[Update]) -> None:
        every = self.gradient_accumulation_steps
        means = []
        for gradient, variable in updates:
            collected = self.slot(variable, "gradient_accumulator")
            means.append(((gradient + collected) / float(every or 1), variable))
            collected.assign(zeros_like(collected))
        self._step(means)

    def _step(self, updates: list[Update]) -> None:
        rate = convert_to_tensor(self.learning_rate)
        steps: dict[DType, Any] = {}
        for _, variable in updates:
            if variable.dtype not in steps:
                steps[variable.dtype] = self.step_values(cast(rate, variable.dtype), variable.dtype)
        dense = [pair for pair in updates if not self._in_rows(*pair, steps[pair[1].dtype])]
        for gradient, variable in self._clipped(dense):
            dtype = variable.dtype
            if self._decays(variable):
                variable.assign_sub(variable * (self.weight_decay * cast(rate, dtype)))
            self.update(gradient, variable, steps[dtype])

    def keeps_untouched(self, step: Any) -> bool:
        """Do elements whose gradient is +0.0 keep their bits, those of the slots too? `step` is what `step_values` returned, eagerly.
        Then rows of a large table that nobody looked up need not be touched."""
        return False

    def _in_rows(self, gradient: Tensor, variable: Variable, step: Any) -> bool:
        """Update a large table of which few rows have gradients, eagerly, in these rows; in a graph passes/update_rows.py does it.
        False, and nothing done, where other rows may change."""
        if not isinstance(gradient, FewRows) or gradient.is_dense or recorders.get() or active_trace.get() is not None:
            return False
        if any(rule is not None for rule in (self.clipnorm, self.global_clipnorm)) or self._decays(variable):
            return False
        if not self.keeps_untouched(step):
            return False
        numbers, rows = gradient.rows()
        held = variable._rows_of(numbers)
        slots = {name: self.slot(variable, name) for name in self.slot_names}
        self._row_slots = held, {name: slot._rows_of(numbers) for name, slot in slots.items()}
        try:
            self.update(self._clipped([(rows, held)])[0][0], held, step)
            for name, slot in slots.items():
                slot._put_rows(numbers, self._row_slots[1][name])
        finally:
            self._row_slots = None
        variable._put_rows(numbers, held)
        return True

    def step_values(self, rate: Tensor, dtype: DType) -> Any:
        """What this step's updates of variables of one dtype share: the rate itself, unless a subclass adds to it."""
        return rate

    def update(self, gradient: Tensor, variable: Variable, step: Any) -> None:
        """Update one variable and its slots. `step` is what `step_values` returned."""
        raise UnimplementedError(f"{type(self).__name__} does not say how to update a variable")

    def step_number(self, dtype: DType) -> Tensor:
        """The number of the update that is being made, from 1, in `dtype`."""
        return cast(self.iterations + 1, dtype)

    def _clipped(self, updates: list[Update]) -> list[Update]:
        if self.clipvalue is not None:
            bound = self.clipvalue
            return [(minimum(larger_of(gradient, -bound), bound), variable) for gradient, variable in updates]
        if self.clipnorm is not None:
            bound = self.clipnorm
            return [
                (gradient * (bound / larger_of(sqrt(reduce_sum(square(gradient))), bound)), variable)
                for gradient, variable in updates
            ]
        if self.global_clipnorm is not None:
            bound = self.global_clipnorm
            total = sqrt(
                sum(
                    (cast(reduce_sum(square(gradient)), float32) for gradient, _ in updates[1:]),
                    start=cast(reduce_sum(square(updates[0][0])), float32),
                )
            )
            scale = bound / larger_of(total, bound)
            return [(gradient * cast(scale, gradient.dtype), variable) for gradient, variable in updates]
        return updates

    def __repr__(self) -> str:
        rate = self._learning_rate
        shown = repr(rate) if not isinstance(rate, Variable) else f"<variable {rate.name}>"
        return f"<gf.optimizers.{type(self).__name__} learning_rate={shown} variables={len(self._variables)}>"


def _takes_argument(function: Callable[..., Any]) -> bool:
    """Can it be called with one argument?"""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        return True
    return True


def _checked(gradient: Any, variable: Variable) -> Update:
    """The gradient as a tensor of the variable's shape and dtype."""
    if not isinstance(variable, Variable):
        raise TypeError(f"apply_gradients: expected pairs of a gradient and a variable, got {type(variable).__name__}")
    tensor = convert_to_tensor(gradient, None if hasattr(gradient, "dtype") else variable.dtype)
    if tensor.dtype is not variable.dtype:
        raise DTypeError(
            f"apply_gradients: variable {variable.name} is {variable.type} and its gradient {tensor.type} "
            f"({variable.dtype.name} and {tensor.dtype.name}); use gf.cast"
        )
    extents = list(zip(tensor.shape, variable.shape, strict=False))
    if len(tensor.shape) != len(variable.shape) or any(isinstance(a, int) and a != b for a, b in extents):
        raise ShapeError(f"apply_gradients: variable {variable.name} is {variable.type} and its gradient {tensor.type}")
    return tensor, variable
