def depth(tree):
    try:
        return 1 + max((depth(child) for child in tree[1]), default=0)
    except RecursionError:
        return 1000
