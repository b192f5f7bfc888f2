from intervals import merge

assert merge([(1, 9), (2, 3)]) == [(1, 9)], "one inside another"
assert merge([]) == []
