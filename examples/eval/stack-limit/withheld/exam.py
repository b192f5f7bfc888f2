from tree import depth

tree = (0, [])
for n in range(50_000):
    tree = (n, [tree, (1, [])])
assert depth(tree) == 50_001
