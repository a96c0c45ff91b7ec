"""Make the queue again from the state of the database: reconcilers, their runs, and drift."""

from django_jobqueue.reconciliation.reconciler import Reconciler

__all__ = ["Reconciler"]
