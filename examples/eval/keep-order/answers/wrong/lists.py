def unique(values):
    return list(reversed(sorted(set(values))))
