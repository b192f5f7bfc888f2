class Cache:
    def __init__(self, seconds, clock):
        self.seconds, self.clock, self.kept, self.began = seconds, clock, {}, clock()

    def put(self, key, value):
        self.kept[key] = value

    def get(self, key):
        return self.kept.get(key) if self.clock() - self.began < self.seconds else None
