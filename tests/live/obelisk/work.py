#!/usr/bin/env python3
"""What every activity does: writes its name to ``executed``, and fails until the file ``mended`` is there."""

import json
import sys
from pathlib import Path

name = json.loads(sys.argv[1])
with Path("executed").open("a") as executed:
    print(name, file=executed)
if not Path("mended").exists():
    print(json.dumps(f"{name} is broken"))
    sys.exit(1)
print(json.dumps(f"{name} is done"))
