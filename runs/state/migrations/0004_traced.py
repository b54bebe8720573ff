"""Whether a retry was appended is told by its moment alone."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("state", "0003_recorded")]

    operations = [migrations.RemoveField(model_name="retry", name="expected")]
