import warnings


def net_price(gross, rate):
    return round(gross / (1 + rate), 2)


def calc(gross, rate):
    warnings.warn("old", DeprecationWarning)
    return round(gross / (1 + rate), 2)
