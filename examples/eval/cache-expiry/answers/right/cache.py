class Cache:
    def __init__(self, seconds, clock):
        self.seconds, self.clock, self.kept = seconds, clock, {}

    def put(self, key, value):
        self.kept[key] = (value, self.clock() + self.seconds)

    def get(self, key):
        value, ends = self.kept.get(key, (None, 0))
        if self.clock() >= ends:
            self.kept.pop(key, None)
            return None
        return value
