"""The names of flags: made of a class's name alone."""

from __future__ import annotations

import pytest

from django_jobqueue import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.switches.naming import declaration, flag_names, underscore


@pytest.mark.parametrize(
    ("name", "underscored"),
    [
        ("InvoiceJob", "invoice_job"),
        ("HTTPServerJob", "http_server_job"),
        ("JSONToXMLJob", "json_to_xml_job"),
        ("Outer.InvoiceJob", "outer_invoice_job"),
        ("S3Upload2Job", "s3_upload2_job"),
        ("HTTP", "http"),
        ("already_small", "already_small"),
        ("test_it.<locals>.InvoiceJob", "invoice_job"),
        ("test_it.<locals>.Outer.make.<locals>.Inner.InvoiceJob", "inner_invoice_job"),
    ],
)
def test_a_class_is_underscored_as_rails_does(name: str, underscored: str) -> None:
    assert underscore(name) == underscored


class NamedJob(Job):
    """Has another name for its flag, and had two before."""

    kill_switch = "billing_named_job"
    kill_switch_aliases = ("named_job", "older_job", "named_job")

    def perform(self) -> None:
        """Do nothing."""


class ChildOfNamedJob(NamedJob):
    """Says nothing itself."""


def names_of(cls: type[Job]) -> tuple[str, ...]:
    declared = declaration(wire_name(cls))
    assert declared is not None
    return declared.names


def test_a_class_has_its_own_flag_first_and_then_those_it_had() -> None:
    names = ("disable_billing_named_job", "disable_named_job", "disable_older_job")
    assert flag_names(NamedJob) == names
    assert names_of(NamedJob) == names


def test_a_child_is_not_stopped_by_what_its_parent_is_called() -> None:
    assert names_of(ChildOfNamedJob) == ("disable_child_of_named_job",)


def test_a_class_that_nobody_defined_has_no_flag() -> None:
    assert declaration("Rails::InvoiceJob") is None


def test_aliases_of_a_wrong_type_do_not_keep_a_class_from_being_defined() -> None:
    class OddJob(Job):
        abstract = True
        kill_switch_aliases = "old_job"

    assert flag_names(OddJob) == ("disable_odd_job",)
