"""Shapes of what goes in and what comes out. Those that go in only check types; services judge values, and they alone write."""
