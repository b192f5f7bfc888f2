def calc(gross, rate):
    return round(gross / (1 + rate), 2)
