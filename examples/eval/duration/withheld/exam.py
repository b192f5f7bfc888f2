from duration import parse

assert parse("1h2m3s") == 3723
for text in ("5 m", "1h soon", "x1h"):
    try:
        parse(text)
    except ValueError:
        continue
    raise SystemExit(f"{text!r} is no duration")
