"""`make bench`: how fast the engine is, beside what a user would pick instead, in one run on one machine. See docs/performance.md."""
