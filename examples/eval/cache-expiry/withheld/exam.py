from cache import Cache

now = [0]
cache = Cache(10, lambda: now[0])
now[0] = 100
cache.put("a", 1)
now[0] = 105
assert cache.get("a") == 1, "each entry has its own time"
now[0] = 110
assert cache.get("a") is None
