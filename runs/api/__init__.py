"""The JSON interface: what the pages show, for programs. Addresses below ``/api/v1/``; GET and HEAD, and POST for retries."""
