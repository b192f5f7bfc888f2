def call(function, attempts=3):
    for attempt in range(1, attempts + 1):
        try:
            return function()
        except OSError:
            if attempt == attempts:
                raise
