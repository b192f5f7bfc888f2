"""The runner: runs INSIDE the microVM, as root, from a zip of this folder; so it imports nothing of ours. See `protocol`."""
