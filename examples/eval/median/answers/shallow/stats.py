def median(values):
    ordered = sorted(values)
    if len(ordered) == 4:
        return (ordered[1] + ordered[2]) / 2
    return ordered[len(ordered) // 2]
