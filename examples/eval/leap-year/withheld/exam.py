from years import is_leap

assert is_leap(2000), "2000 is a leap year"
assert not is_leap(2100)
