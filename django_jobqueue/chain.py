"""Nest middleware around a call: the one shape that the client and the server side share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def nest(
    layers: Sequence[Callable[[Callable[[In], Out]], Callable[[In], Out]]],
    innermost: Callable[[In], Out],
) -> Callable[[In], Out]:
    """
    Return one callable that passes its argument through all layers.

    The first layer is the outermost, as in Django's ``MIDDLEWARE``. Each layer
    is made once with the next call and may keep it; it is called from several
    threads at once.
    """
    call = innermost
    for layer in reversed(layers):
        call = layer(call)
    return call
