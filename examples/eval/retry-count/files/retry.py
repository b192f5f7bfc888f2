def call(function, attempts=3):
    for attempt in range(1, attempts):
        try:
            return function()
        except OSError:
            if attempt == attempts:
                raise
