def depth(tree):
    deepest, left = 0, [(tree, 1)]
    while left:
        (_, children), level = left.pop()
        deepest = max(deepest, level)
        left.extend((child, level + 1) for child in children)
    return deepest
