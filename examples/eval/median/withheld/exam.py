from stats import median

assert median([1, 2]) == 1.5
assert median([6, 5, 4, 3, 2, 1]) == 3.5
assert median([7]) == 7
