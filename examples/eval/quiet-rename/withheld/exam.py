import warnings

from prices import calc

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    calc(1, 1)
assert seen[0].filename == __file__, "the warning names the caller"
