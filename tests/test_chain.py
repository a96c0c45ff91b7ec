"""Nested middleware: the first is outermost, each is made once, each decides whether to call on."""

from __future__ import annotations

from collections.abc import Callable

from django_jobqueue.chain import nest

Call = Callable[[str], str]


def tagging(tag: str) -> Callable[[Call], Call]:
    """Return a layer that writes its tag on the way in and on the way out."""

    def layer(call: Call) -> Call:
        return lambda text: f"{call(f'{text}>{tag}')}<{tag}"

    return layer


def test_the_first_layer_is_outermost() -> None:
    call = nest([tagging("a"), tagging("b")], lambda text: f"[{text}]")
    assert call("in") == "[in>a>b]<b<a"


def test_without_layers_the_innermost_call_is_left() -> None:
    innermost: Call = str.upper
    assert nest([], innermost) is innermost


def test_a_layer_that_does_not_call_on_ends_the_way() -> None:
    def wall(call: Call) -> Call:
        return lambda text: f"stopped {text}"

    reached: list[str] = []

    def innermost(text: str) -> str:
        reached.append(text)
        return text

    assert nest([tagging("a"), wall, tagging("b")], innermost)("in") == "stopped in>a<a"
    assert reached == []


def test_each_layer_is_made_once_for_many_calls() -> None:
    made: list[Call] = []

    def layer(call: Call) -> Call:
        made.append(call)
        return call

    call = nest([layer], str.upper)
    assert (call("a"), call("b")) == ("A", "B")
    assert len(made) == 1
