"""How good is it? A task bank goes through the real engine, and what that says is held against what is so."""
