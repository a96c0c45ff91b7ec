"""
What the manual says of settings, options and flags, read off the code that obeys it.

The pages say what a thing means. From here comes what can be counted: which
there are, what they take, their defaults. A directive writes reStructuredText
and has it parsed where it stands.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from datetime import timedelta

from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger
from sphinx.util.typing import ExtensionMetadata

from django_jobqueue import Job, checks, conf, signals, validators
from django_jobqueue.job.options import CHECKS, OF_THE_CLASS
from django_jobqueue.monitoring.families import DECLARED, PREFIX
from django_jobqueue.worker.exit_codes import ExitCode

logger = getLogger(__name__)

#: The pages whose definition lists explain settings and options.
EXPLAINING = ("reference/settings", "reference/options", "howto/unique-jobs", "howto/kill-switches")

#: Seconds of the units in which a duration is told, the longest first.
UNITS = {"days": 86_400, "s": 1}

#: What underlines the sections of a page, and theirs, and theirs.
UNDERLINES = "-~^"


# What is told of a value ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A setting or an option: what it takes and its default, both as the pages write them."""

    name: str
    takes: str
    default: str


def settings() -> list[Told]:
    """Return every key of ``settings.JOBQUEUE``."""
    return [_told_setting(option) for option in conf._OPTIONS]


def job_options() -> list[Told]:
    """Return every option of a job whose value is checked."""
    return [
        Told(name, _clean(str(check(object())), "it is "), shown(getattr(Job, name)))
        for name, check in CHECKS.items()
    ]


def shown(value: object, *, is_duration: bool = False) -> str:
    """Return a default as the pages write it: ``25 s``, ``14 days``, ``10,000``, ``"redis"``."""
    if isinstance(value, timedelta):
        return shown(value.total_seconds(), is_duration=True)
    if is_duration and isinstance(value, (int, float)):
        unit = next(unit for unit, seconds in UNITS.items() if value % seconds == 0)
        return f"{value / UNITS[unit]:,g} {unit}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str):
        return f'"{value}"'
    if is_dataclass(value):
        return "{}"
    return repr(value)


def _told_setting(option: conf._Option) -> Told:
    # What refuses a wrong value knows best what a right one is.
    try:
        option.read(object())
    except validators.Wrong as wrong:
        fault = wrong.faults[0]
    else:
        raise AssertionError(f"{option.name} takes anything")
    wanted = re.search(r", not ((a \w+).*)", fault.complaint)
    takes = _clean(fault.advice, "Set it to ", "Write ", "Give ")
    if wanted and wanted[2] == "a duration":
        takes = wanted[1]
    elif wanted and wanted[2] in ("a dict", "a string"):
        takes = f"{wanted[2]} {takes.replace('There are', 'of')}"
    default = shown(option.default, is_duration="a duration" in takes)
    if option.name == "EMBEDDED_DIR":
        default = f'BASE_DIR / "{conf.EMBEDDED_DIR}"'
    elif isinstance(option.default, tuple):
        names = ", ".join(path.rpartition(".")[2] for path in option.default)
        default = f"{{{names}}}" if "a dict" in takes else f"[{names}]"
    return Told(option.name, takes, default)


def _clean(advice: str, *beginnings: str) -> str:
    for beginning in beginnings:
        advice = advice.removeprefix(beginning)
    # "Set it to 'a', or to 'b'", of which the beginning has gone.
    return re.sub(r"\bto (?=True|False|the )", "", advice.removeprefix("it "))


# What is made of it --------------------------------------------------------------------


class Generated(SphinxDirective):
    """A directive whose content is made of code."""

    def run(self) -> list[nodes.Node]:
        """Parse what is written of it."""
        return list(self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True))

    def lines(self) -> Iterable[str]:
        """Write reStructuredText, line by line."""
        raise NotImplementedError


class SettingsTable(Generated):
    """All settings, each with a link to what is said of it."""

    def lines(self) -> Iterable[str]:
        """Write the table."""
        rows = [
            (f":setting:`{told.name}`", quoted(told.takes), literal(told.default))
            for told in settings()
        ]
        return table(("Setting", "May be", "Default"), rows)


class JobOptionsTable(Generated):
    """All options of a job, each with a link to what is said of it."""

    def lines(self) -> Iterable[str]:
        """Write the table."""
        rows = [
            (
                f":joboption:`{told.name}`",
                quoted(told.takes),
                literal(told.default),
                "no" if told.name in OF_THE_CLASS else "yes",
            )
            for told in job_options()
        ]
        return table(("Option", "May be", "Default", "In ``set()``"), rows)


class ChecksTable(Generated):
    """All system checks, as the code that holds them lists them."""

    def lines(self) -> Iterable[str]:
        """Write what stands in the docstring as a table."""
        found = re.findall(r"^([EWI]\d{3})\s+(.*)$", checks.__doc__ or "", re.MULTILINE)
        return table(("Check", "Meaning"), ((literal(name), meaning) for name, meaning in found))


class SignalsList(Generated):
    """All signals, each with the comment above it."""

    def lines(self) -> Iterable[str]:
        """Write one entry for each."""
        for name, value in vars(signals).items():
            if isinstance(value, Signal):
                yield from (f".. autodata:: {signals.__name__}.{name}", "   :no-value:", "")


class ExitCodesTable(Generated):
    """The exit codes of ``runjobs``."""

    def lines(self) -> Iterable[str]:
        """Write the table."""
        return table(
            ("Code", "Meaning"),
            ((str(code.value), escape(sentence(code.meaning))) for code in ExitCode),
        )


class FiguresTable(Generated):
    """What Prometheus is told, each with its labels."""

    def lines(self) -> Iterable[str]:
        """Write the table."""
        return table(
            ("Metric", "Labels", "Type", "Meaning"),
            (
                (
                    literal(PREFIX + each.name),
                    " ".join(map(literal, each.labels)),
                    each.kind,
                    each.help,
                )
                for each in DECLARED
            ),
        )


class CommandFlags(Generated):
    """The flags of a command, and those of its subcommands, each in a section of its own."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        """Write what the parser says."""
        (name,) = self.arguments
        command = load_command_class("django_jobqueue", name)
        parser = command.create_parser("manage.py", name)
        # What every command of Django takes is told by Django.
        common = BaseCommand().create_parser("manage.py", name)
        known = {flag for action in common._actions for flag in action.option_strings}
        yield from (escape(str(parser.description)), "")
        yield from told_parser(parser, f"manage.py {name}", known, UNDERLINES)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Write a table."""
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f"   {'*' if index == 0 else ' '} - {cell}"
    yield ""


def escape(text: str) -> str:
    """Return text that stands for itself."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def quoted(text: str) -> str:
    """Return text with the strings in it in the type of code."""
    return re.sub(r"(?<![\w`])'([^']+)'", r"``'\1'``", text)


def literal(text: str) -> str:
    """Return text in the type of code."""
    return f"``{text}``"


def told_parser(
    parser: argparse.ArgumentParser, name: str, known: set[str], underlines: str
) -> Iterator[str]:
    """Write the arguments of a command, then its subcommands as sections."""
    described = [a for a in parser._actions if not known.intersection(a.option_strings)]
    yield from (f".. program:: {name}", "")
    for action in described:
        if not isinstance(action, argparse._SubParsersAction):
            yield from told_argument(action)
    for action in described:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for sub, its in sorted(action.choices.items()):
                title = f"``{name.removeprefix('manage.py ')} {sub}``"
                yield from (title, underlines[0] * len(title), "")
                yield from (f"{escape(sentence(helps.get(sub) or its.description))}", "")
                yield from told_parser(its, f"{name} {sub}", known, underlines[1:])


def told_argument(action: argparse.Action) -> Iterator[str]:
    """Write one flag or positional argument."""
    value = _value_of(action)
    names = [f"{flag} {value}".strip() for flag in action.option_strings] or [value]
    help_ = sentence(action.help)
    if "default" not in help_ and action.default not in (None, False, [], argparse.SUPPRESS):
        help_ += f" Default: {action.default}."
    yield from (f".. option:: {', '.join(names)}", "", f"   {escape(help_)}", "")


def sentence(text: str | None) -> str:
    """Return a help text as a sentence."""
    text = (text or "").strip().replace("%%", "%").rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _value_of(action: argparse.Action) -> str:
    """Return how the value of an argument is written; nothing where it takes none."""
    if action.nargs == 0:
        return ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        name = f"{{{','.join(map(str, action.choices))}}}"
    return {"*": f"[{name} ...]", "+": f"{name} [{name} ...]", "?": f"[{name}]"}.get(
        str(action.nargs), name
    )


# Where a name is explained -------------------------------------------------------------


def note_explained(app: Sphinx, doctree: nodes.document) -> None:
    """
    Let ``:setting:`` and ``:joboption:`` lead to the terms that explain them.

    Warns where a term names another default than the code has.
    """
    if app.env.docname not in EXPLAINING:
        return
    domain = app.env.domains.standard_domain
    known = {told.name: ("setting", told) for told in settings()}
    known |= {told.name: ("joboption", told) for told in job_options()}
    for term in doctree.findall(nodes.term):
        for each in term.findall(nodes.literal):
            if each.astext() in known:
                kind, told = known[each.astext()]
                note(domain, kind, told.name, each)
                compare(told, term)


def compare(told: Told, term: nodes.term) -> None:
    """Warn where the default in parentheses behind a name is not the one of the code."""
    written = re.search(rf"\b{told.name} \(((?:[^()]|\(\))*)\)", term.astext())
    if written and written[1] != told.default:
        logger.warning(
            "the default of %s is %s, not %s", told.name, told.default, written[1], location=term
        )


def note(domain: StandardDomain, kind: str, name: str, node: nodes.Element) -> None:
    """Make a node the place that a name leads to."""
    anchor = nodes.make_id(f"{kind}-{name}")
    node["ids"].append(anchor)
    domain.note_object(kind, name, anchor, location=node)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directives and the roles."""
    app.add_object_type("setting", "setting", indextemplate="pair: %s; setting")
    app.add_object_type("joboption", "joboption", indextemplate="pair: %s; option of a job")
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("job-options-table", JobOptionsTable)
    app.add_directive("checks-table", ChecksTable)
    app.add_directive("signals-list", SignalsList)
    app.add_directive("exit-codes-table", ExitCodesTable)
    app.add_directive("figures-table", FiguresTable)
    app.add_directive("command-flags", CommandFlags)
    app.connect("doctree-read", note_explained)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
