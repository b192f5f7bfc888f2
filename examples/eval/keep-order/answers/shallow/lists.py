def unique(values):
    return sorted(set(values), key=lambda v: (v != 3, v))
