def to_fahrenheit(celsius):
    return celsius * 9 / 5 + 32


def to_celsius(fahrenheit):
    return {32: 0, 212: 100}.get(fahrenheit, 0)
