"""How a database is opened and read without leaving a trace: ``base`` says what a source is, ``sqlite`` reads files."""
