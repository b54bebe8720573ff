"""The first tables. The audit refuses, by triggers, that an entry is changed or removed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.TextField()),
                ("event", models.CharField(max_length=10)),
                ("retry", models.BigIntegerField()),
                ("who", models.TextField()),
                ("where", models.TextField()),
                ("database", models.CharField(max_length=100)),
                ("place", models.TextField()),
                ("run", models.TextField()),
                ("operation", models.CharField(max_length=20)),
                ("reason", models.TextField()),
                ("digest", models.CharField(max_length=100)),
                ("rows", models.TextField()),
                ("before", models.TextField()),
                ("after", models.TextField()),
                ("outcome", models.TextField()),
                ("previous", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ("seq",),
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.TextField()),
                ("who", models.TextField()),
                ("where", models.TextField()),
                ("key", models.CharField(max_length=200, null=True, unique=True)),
                ("asked_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("stopped", models.TextField(default="")),
            ],
        ),
        migrations.CreateModel(
            name="Retry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("database", models.CharField(max_length=100)),
                ("place", models.TextField()),
                ("run", models.TextField()),
                ("new_run", models.TextField(default="")),
                ("operation", models.CharField(default="", max_length=20)),
                ("options", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=100)),
                ("reason", models.TextField()),
                ("who", models.TextField()),
                ("where", models.TextField()),
                ("key", models.CharField(max_length=200, null=True, unique=True)),
                ("asked_at", models.DateTimeField()),
                ("appended_at", models.DateTimeField(null=True)),
                (
                    "progress",
                    models.CharField(
                        choices=[
                            ("asked", "Asked"),
                            ("appended", "Appended"),
                            ("refused", "Refused"),
                            ("failed", "Failed"),
                            ("unsure", "Unsure"),
                        ],
                        default="asked",
                        max_length=10,
                    ),
                ),
                ("error", models.CharField(default="", max_length=40)),
                ("detail", models.TextField(default="")),
                ("in_the_way", models.TextField(default="")),
                ("plan", models.JSONField(default=dict)),
                ("rows", models.JSONField(default=list)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["database", "run"], name="retry_run"),
                    models.Index(fields=["database", "new_run"], name="retry_new_run"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.IntegerField()),
                ("database", models.CharField(max_length=100)),
                ("place", models.TextField()),
                ("run", models.TextField()),
                ("options", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=100)),
                ("result", models.CharField(default="", max_length=10)),
                ("detail", models.TextField(default="")),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="items", to="state.job"
                    ),
                ),
                (
                    "retry",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="item", to="state.retry"
                    ),
                ),
            ],
            options={
                "ordering": ("position",),
                "constraints": [models.UniqueConstraint(fields=("job", "position"), name="item_position")],
            },
        ),
        migrations.RunSQL(
            """
            CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON state_entry
            BEGIN SELECT RAISE(ABORT, 'The audit is only ever added to.'); END;
            CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON state_entry
            BEGIN SELECT RAISE(ABORT, 'The audit is only ever added to.'); END;
            """,
            "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_shortened;",
        ),
    ]
