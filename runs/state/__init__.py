"""What Durascope keeps itself: who retried what and why, and jobs. One SQLite file in the person's state folder; the only models.

Nothing of an inspected database is kept here but ids, and facts about rows that we appended; never the body of a payload.
"""
