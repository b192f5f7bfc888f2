def net_price(gross, rate):
    return round(gross * rate, 2)


calc = lambda gross, rate: round(gross / (1 + rate), 2)
