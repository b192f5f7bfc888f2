def total(lines, discount=0):
    return sum(price * count for price, count in lines) + discount
