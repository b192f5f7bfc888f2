def pages(items, size):
    return [items[n * size : (n + 1) * size] for n in range(len(items) // size + 1)]
