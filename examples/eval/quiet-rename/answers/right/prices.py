import warnings


def net_price(gross, rate):
    return round(gross / (1 + rate), 2)


def calc(gross, rate):
    warnings.warn("calc is net_price now", DeprecationWarning, stacklevel=2)
    return net_price(gross, rate)
