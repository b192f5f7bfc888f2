def merge(intervals):
    return sorted(intervals)
