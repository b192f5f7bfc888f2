def call(function, attempts=3):
    for _ in range(attempts - 1):
        try:
            return function()
        except OSError:
            continue
    raise OSError("gave up")
