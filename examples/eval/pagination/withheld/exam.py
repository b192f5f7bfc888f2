from paging import pages

assert pages([], 3) == []
assert pages([1], 3) == [[1]]
