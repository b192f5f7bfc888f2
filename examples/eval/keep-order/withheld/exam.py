from lists import unique

assert unique(["b", "a", "b"]) == ["b", "a"]
assert unique([]) == []
