def call(function, attempts=3):
    while True:
        try:
            return function()
        except OSError:
            continue
