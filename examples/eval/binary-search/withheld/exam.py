from search import find

assert [find([1, 3, 5, 7], n) for n in (2, 8, 7)] == [-1, -1, 3]
assert find([], 1) == -1
