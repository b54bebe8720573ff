"""The tables of our state: retries, jobs, and the audit, which is only ever added to."""

from django.db import models


class Progress(models.TextChoices):
    """Where a retry stands."""

    ASKED = "asked"  # confirmed; whether it was appended is not recorded yet
    HELD = "held"  # appended paused: it waits for the engine's replay, then for its release
    APPENDED = "appended"
    REFUSED = "refused"  # nothing was appended: it changed meanwhile, or must not be
    FAILED = "failed"  # nothing was appended: locked, full, unreadable
    UNSURE = "unsure"  # the process that appended was ended, and the file does not tell


class Retry(models.Model):
    """One confirmed retry, and what became of it."""

    database = models.CharField(max_length=100)
    place = models.TextField()
    run = models.TextField()
    new_run = models.TextField(default="")
    operation = models.CharField(max_length=20, default="")
    options = models.JSONField(default=dict)
    digest = models.CharField(max_length=100)
    reason = models.TextField()
    who = models.TextField()
    where = models.TextField()
    key = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001 - several have none, none twice the same
    asked_at = models.DateTimeField()
    appended_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)  # of one that was appended paused
    progress = models.CharField(max_length=10, choices=Progress.choices, default=Progress.ASKED)
    error = models.CharField(max_length=40, default="")
    detail = models.TextField(default="")
    in_the_way = models.TextField(default="")
    plan = models.JSONField(default=dict)
    rows = models.JSONField(default=list)

    class Meta:
        indexes = (
            models.Index(fields=("database", "run"), name="retry_run"),
            models.Index(fields=("database", "new_run"), name="retry_new_run"),
        )

    def __str__(self) -> str:
        return f"{self.pk} {self.progress} {self.database}"

    @property
    def count(self) -> int:
        """How many rows were changed; some were changed together."""
        return sum(row.get("count", 1) for row in self.rows)


class Entry(models.Model):
    """One entry of the audit. It holds the hash of the one before it: an entry that is changed, or missing, shows."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.TextField()
    event = models.CharField(max_length=10)
    retry = models.BigIntegerField()
    who = models.TextField()
    where = models.TextField()
    database = models.CharField(max_length=100)
    place = models.TextField()
    run = models.TextField()
    operation = models.CharField(max_length=20)
    reason = models.TextField()
    digest = models.CharField(max_length=100)
    rows = models.TextField()  # canonical JSON, as are before and after: what is hashed is what is stored
    before = models.TextField()
    after = models.TextField()
    outcome = models.TextField()
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("seq",)

    def __str__(self) -> str:
        return f"{self.seq} {self.event} {self.database}"


class Job(models.Model):
    """Several retries, appended one after another by a process of their own."""

    reason = models.TextField()
    who = models.TextField()
    where = models.TextField()
    key = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001 - several have none, none twice the same
    asked_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    stopped = models.TextField(default="")  # why it ended before its end, in words

    def __str__(self) -> str:
        return f"job {self.pk}"


class Item(models.Model):
    """One run of a job, in its place."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="items")
    position = models.IntegerField()
    database = models.CharField(max_length=100)
    place = models.TextField()
    run = models.TextField()
    options = models.JSONField(default=dict)
    digest = models.CharField(max_length=100)
    server = models.TextField(default="")  # of the engine, as it was known when the job was recorded; empty for none
    retry = models.OneToOneField(Retry, on_delete=models.PROTECT, null=True, related_name="item")
    result = models.CharField(max_length=10, default="")  # done, held, skipped or failed; empty while it waits
    detail = models.TextField(default="")

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=("job", "position"), name="item_position"),)

    def __str__(self) -> str:
        return f"item {self.position}"
