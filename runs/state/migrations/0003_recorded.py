"""What a retry's run is to be called, and the engine's server of a job's run: decided when they are recorded."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("state", "0002_held")]

    operations = [
        migrations.AddField(model_name="retry", name="expected", field=models.TextField(default="")),
        migrations.AddField(model_name="item", name="server", field=models.TextField(default="")),
    ]
