from units import to_celsius, to_fahrenheit

assert to_celsius(-40) == -40 == to_fahrenheit(-40)
