from retry import call

tried = []


def never():
    tried.append(1)
    if len(tried) > 50:
        raise SystemExit("it never gives up")
    raise OSError("no")


try:
    call(never, attempts=2)
except OSError:
    assert len(tried) == 2, len(tried)
else:
    raise SystemExit("the last error is lost")
