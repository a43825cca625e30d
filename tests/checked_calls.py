"""Checks of types and shapes in some calls of every function in every test.

jaxtyping's import hook checks every call, which took two thirds of the suite's time: most calls are
a step of a loop, like the step before. Here the 1st, 2nd, 4th, 8th ... call of a function in a test
is checked, and what checks it is made at its first call. ``SAMPLEWISE_CHECK_EVERY_CALL=1`` checks
every call.
"""

import functools
import os
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jaxtyping

calls: Counter[FunctionType] = Counter()
"""Calls of each function in the current test."""
check_every_call = jaxtyping.jaxtyped


def check_some_calls(fn: Any = None, *, typechecker: Any) -> Any:
    """Decorate ``fn`` as ``jaxtyping.jaxtyped`` does, but check fewer and fewer calls."""
    if fn is None:
        return functools.partial(check_some_calls, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return check_every_call(fn, typechecker=typechecker)
    checked: Callable | None = None

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        calls[fn] = count = calls[fn] + 1
        if count & (count - 1):
            return fn(*args, **kwargs)
        if checked is None:
            checked = check_every_call(fn, typechecker=typechecker)
        return checked(*args, **kwargs)

    return call


def install() -> None:
    """Replace the decorator of jaxtyping's import hook, before any module is imported."""
    if not os.environ.get("SAMPLEWISE_CHECK_EVERY_CALL"):
        jaxtyping.jaxtyped = check_some_calls
