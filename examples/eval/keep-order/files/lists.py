def unique(values):
    return sorted(set(values))
