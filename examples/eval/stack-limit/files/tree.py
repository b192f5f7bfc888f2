def depth(tree):
    return 1 + max((depth(child) for child in tree[1]), default=0)
