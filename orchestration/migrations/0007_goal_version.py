from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orchestration", "0006_evidence")]

    operations = [
        migrations.AddField(
            model_name="goal",
            name="version",
            field=models.PositiveIntegerField(
                default=0, help_text="raised by each transaction that changes anything of what is decided on"
            ),
        ),
    ]
