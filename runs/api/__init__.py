"""The JSON interface: what the pages show, for programs. Addresses below ``/api/v1/``; only GET and HEAD."""
