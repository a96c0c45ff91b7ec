"""The tables of databases and their backups."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Create both."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Database",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("path", models.CharField(max_length=1000)),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "pending"), ("running", "running"), ("done", "done")],
                        db_index=True,
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "jid",
                    models.CharField(
                        blank=True,
                        help_text="The job that has claimed it.",
                        max_length=64,
                        verbose_name="job",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("pk",),
            },
        ),
        migrations.CreateModel(
            name="Backup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("path", models.CharField(max_length=1000)),
                ("size", models.PositiveBigIntegerField(help_text="Bytes of the archive.")),
                (
                    "sha256",
                    models.CharField(
                        help_text="Of the archive.", max_length=64, verbose_name="SHA-256"
                    ),
                ),
                (
                    "rows",
                    models.PositiveBigIntegerField(help_text="Rows of all tables in the archive."),
                ),
                (
                    "integrity",
                    models.CharField(
                        help_text="What PRAGMA integrity_check said of the copy.", max_length=100
                    ),
                ),
                ("jid", models.CharField(db_index=True, max_length=64, verbose_name="job")),
                ("finished_at", models.DateTimeField()),
                (
                    "database",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="backup",
                        to="backups.database",
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
            },
        ),
    ]
