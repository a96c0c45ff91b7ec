from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="KillSwitchEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("flag", models.CharField(db_index=True, max_length=100, verbose_name="flag")),
                ("old_state", models.CharField(max_length=20, verbose_name="from")),
                ("new_state", models.CharField(max_length=20, verbose_name="to")),
                ("actor", models.CharField(blank=True, max_length=150, verbose_name="who")),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("admin", "admin"),
                            ("command", "command"),
                            ("code", "code"),
                            ("database", "database"),
                        ],
                        max_length=10,
                        verbose_name="source",
                    ),
                ),
                ("at", models.DateTimeField(auto_now_add=True, verbose_name="when")),
            ],
            options={
                "verbose_name": "kill switch event",
                "verbose_name_plural": "kill switch events",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="ReconcilerState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, unique=True, verbose_name="name")),
                ("status", models.CharField(blank=True, max_length=30, verbose_name="status")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started")),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished"),
                ),
                (
                    "succeeded_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="last success"),
                ),
                ("cursor", models.TextField(blank=True, verbose_name="cursor")),
                ("skips", models.PositiveIntegerField(default=0, verbose_name="skipped in a row")),
                ("found", models.PositiveBigIntegerField(default=0, verbose_name="found")),
                ("pushed", models.PositiveBigIntegerField(default=0, verbose_name="pushed")),
                (
                    "oldest_pending",
                    models.FloatField(blank=True, null=True, verbose_name="age of the oldest"),
                ),
                ("error", models.TextField(blank=True, verbose_name="error")),
            ],
            options={
                "verbose_name": "reconciler",
                "verbose_name_plural": "reconcilers",
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, unique=True, verbose_name="name")),
                ("last_tick", models.BigIntegerField(default=0, verbose_name="last tick")),
                ("pushed_tick", models.BigIntegerField(default=0, verbose_name="last tick pushed")),
                ("paused", models.BooleanField(default=False, verbose_name="paused")),
            ],
            options={
                "verbose_name": "schedule",
                "verbose_name_plural": "schedules",
            },
        ),
        migrations.CreateModel(
            name="ReconcilerRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("jid", models.CharField(blank=True, max_length=64, verbose_name="job")),
                ("status", models.CharField(max_length=30, verbose_name="status")),
                ("started_at", models.DateTimeField(verbose_name="started")),
                ("finished_at", models.DateTimeField(verbose_name="finished")),
                ("exact", models.BooleanField(default=False, verbose_name="exact pass")),
                ("pages", models.PositiveIntegerField(default=0, verbose_name="pages")),
                ("found", models.PositiveBigIntegerField(default=0, verbose_name="found")),
                ("pushed", models.PositiveBigIntegerField(default=0, verbose_name="pushed")),
                (
                    "duplicates",
                    models.PositiveBigIntegerField(default=0, verbose_name="queued already"),
                ),
                ("cooling", models.PositiveBigIntegerField(default=0, verbose_name="cooling down")),
                (
                    "errors",
                    models.PositiveBigIntegerField(default=0, verbose_name="rows with errors"),
                ),
                ("error", models.TextField(blank=True, verbose_name="error")),
            ],
            options={
                "verbose_name": "run of a reconciler",
                "verbose_name_plural": "runs of reconcilers",
                "indexes": [
                    models.Index(fields=["name", "started_at"], name="jq_run_name_started")
                ],
            },
        ),
    ]
