"""Retries that are appended paused, and released later."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("state", "0001_initial")]

    operations = [
        migrations.AddField(model_name="retry", name="released_at", field=models.DateTimeField(null=True)),
        migrations.AlterField(
            model_name="retry",
            name="progress",
            field=models.CharField(
                choices=[
                    ("asked", "Asked"),
                    ("held", "Held"),
                    ("appended", "Appended"),
                    ("refused", "Refused"),
                    ("failed", "Failed"),
                    ("unsure", "Unsure"),
                ],
                default="asked",
                max_length=10,
            ),
        ),
    ]
