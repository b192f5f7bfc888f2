from words import count

assert count("Why? why: (why)") == {"why": 3}, count("Why? why: (why)")
assert count("don't") == {"don't": 1}
