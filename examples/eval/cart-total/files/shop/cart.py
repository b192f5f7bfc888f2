def total(lines, discount=0):
    return sum(price * count - discount for price, count in lines)
