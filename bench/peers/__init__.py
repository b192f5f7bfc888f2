"""The peers: each does the same shapes in its own idiom. They run in .bench-venv and import nothing of ours but `common`."""
