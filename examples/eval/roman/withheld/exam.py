from roman import roman

assert roman(3999) == "MMMCMXCIX"
assert roman(444) == "CDXLIV"
