"""Loops: while, for over tensors and ranges, break, continue, else, nesting."""

import graphflow as gf

from ..table import floats, integers, longs, program


@program(integers(10), integers(0), integers(1))
def count_up(n):
    i = 0
    while i < n:
        i += 1
    return i


@program(longs(27), longs(1), longs(97))
def collatz(n):
    steps = gf.constant(0)
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@program(floats(2), floats(1e6), floats(1e-6))
def newton_square_root(a):
    x = a
    while gf.abs(x * x - a) > 1e-5 * a:
        x = 0.5 * (x + a / x)
    return x


@program((integers(48), integers(18)), (integers(7), integers(0)), (integers(17), integers(5)))
def greatest_common_divisor(a, b):
    while b != 0:
        a, b = b, a % b
    return a


@program(integers(10), integers(1), integers(0))
def fibonacci(n):
    a, b = 0, 1
    i = gf.constant(0)
    while i < n:
        a, b = b, a + b
        i += 1
    return a


@program(floats(1, 2, 3), floats(5, 6))
def sum_of_rows(x):
    total = 0.0
    for value in x:
        total += value
    return total


@program(floats([[1, 2], [3, 4]]), floats([[1, 2], [3, 4], [5, 6]]))
def for_over_matrix(x):
    total = gf.zeros([2])
    for row in x:
        total = total * 0.5 + row
    return total


@program(integers(5), integers(0))
def for_over_tensor_range(n):
    total = 0
    for i in gf.range(n):
        total += i * i
    return total


@program(integers(5), integers(3))
def for_over_python_range_of_tensor(n):
    total = 0
    for i in range(n):
        total += i
    return total


@program((integers(2), integers(11), integers(3)), (integers(5), integers(0), integers(-2)))
def range_with_step(start, stop, step):
    total = 0
    for i in gf.range(start, stop, step):
        total = total * 10 + i
    return total


@program(floats(1, 2, 3))
def python_range_unrolls(x):
    for k in range(3):
        x = x * (k + 1)
    return x


@program(floats(1, 2, 3), floats(5, -1, 2))
def python_list_unrolls(x):
    for scale, shift in [(1.0, 2.0), (0.5, -1.0)]:
        x = x * scale + shift
    return x


@program(floats(1, -2, 3, -4), floats(-1, -2, -3, -4))
def loop_with_branch(x):
    positive = 0
    total = 0.0
    for value in x:
        if value > 0:
            positive += 1
            total += value
    return positive, total


@program(floats(1, 2, -3, 4), floats(1, 2, 3, 4), floats(-1, 2, 3, 4))
def break_at_negative(x):
    total = 0.0
    for value in x:
        if value < 0:
            break
        total += value
    return total


@program(floats(1, -2, 3, -4), floats(-1, -2, -3, -4))
def continue_over_negative(x):
    total = 0.0
    for value in x:
        if value < 0:
            continue
        total += gf.sqrt(value)
    return total


@program(integers(20), integers(2), integers(1))
def break_and_continue(n):
    total = 0
    i = gf.constant(0)
    while i < n:
        i += 1
        if i % 3 == 0:
            continue
        if i > 10:
            break
        total += i
    return total, i


@program(integers(3), integers(100))
def while_true(n):
    i = gf.constant(0)
    while True:
        i += 1
        if i * i >= n:
            break
    return i


@program(floats(1, 2, 3, 4), floats(1, 9, 3, 4))
def return_in_loop(x):
    for value in x:
        if value > 5:
            return value
    return x[0] * 0 - 1


@program(floats(1, 2, 3, 4), floats(1, 9, 3, 4))
def for_else(x):
    found = -1.0
    for value in x:
        if value > 5:
            found = value
            break
    else:
        found = 100.0
    return found


@program(integers(4), integers(11))
def while_else(n):
    i = gf.constant(0)
    result = gf.constant(-1)
    while i < n:
        if i == 7:
            result = i * 10
            break
        i += 1
    else:
        result = i
    return result


@program(floats([[1, 2], [3, 4]]), floats([[5, 6, 7], [1, 1, 1]]))
def nested_for(x):
    total = 0.0
    for row in x:
        for value in row:
            total = total * 0.5 + value
    return total


@program((integers(3), integers(4)), (integers(0), integers(4)), (integers(2), integers(0)))
def nested_ranges(n, m):
    total = 0
    for i in gf.range(n):
        for j in gf.range(m):
            total += i * j + 1
    return total


@program(integers(6), integers(10))
def count_primes(n):
    count = 0
    i = gf.constant(2)
    while i < n:
        j = gf.constant(2)
        prime = True
        while j < i:
            if i % j == 0:
                prime = False
                break
            j += 1
        if prime:
            count += 1
        i += 1
    return count


@program(integers(5), integers(8))
def inner_continue_outer_break(n):
    total = 0
    for i in gf.range(n):
        for j in gf.range(n):
            if j == 2:
                continue
            if i + j > 5:
                break
            total += j
        if total > 12:
            break
    return total


@program(floats(1, 2, 3), floats(4, 5))
def enumerate_tensor(x):
    total = 0.0
    for i, value in enumerate(x):
        total += gf.cast(i, gf.float32) * value
    return total


@program(floats(1, 2, 3))
def enumerate_with_start(x):
    total = 0.0
    for i, value in enumerate(x, 10):
        total += gf.cast(i, gf.float32) * value
    return total


@program((floats(1, 2, 3), floats(4, 5, 6)))
def zip_tensors(x, y):
    total = 0.0
    for a, b in zip(x, y):  # noqa: B905
        total += a * b
    return total


@program((floats(1, 2, 3), floats(4, 5, 6)))
def enumerate_zip(x, y):
    total = 0.0
    for i, (a, b) in enumerate(zip(x, y)):  # noqa: B905
        total += a * b * gf.cast(i, gf.float32)
    return total


@program(floats([[1, 2], [3, 4], [5, 6]]))
def unpack_rows(x):
    total = 0.0
    for row in x:
        a, b = row[0], row[1]
        total += a * b
    return total


@program(floats(1, 2, 3), floats(3, 2, 1))
def loop_over_reversed(x):
    result = gf.constant(0.0)
    for value in gf.reverse(x, [0]):
        result = result * 10 + value
    return result


@program(integers(4), integers(0))
def loop_changes_vector(n):
    x = gf.ones([3])
    for i in gf.range(n):
        x = x * 2 + gf.cast(i, gf.float32)
    return x


@program((floats([[1, 2], [3, 4]]), integers(3)), (floats([[0, 1], [1, 1]]), integers(5)))
def matrix_power(a, n):
    result = gf.eye(2)
    for _ in gf.range(n):
        result = result @ a
    return result


@program((floats([[0.1, 0.2, 0.3], [0.5, -0.4, 0.1]]), floats([[0.5, 0.1, 0], [0, 0.5, 0.1], [0.2, 0, 0.5]])))
def recurrent_cell(x, w):
    h = gf.zeros([3])
    for row in x:
        h = gf.tanh(row + gf.linalg.matvec(w, h))
    return h


@program(integers(5), integers(1))
def list_append(n):
    rows = []
    for i in gf.range(n):
        rows.append(i * i)
    return gf.stack(rows)


@program(floats(1, -2, 3, -4), floats(1, 1, 1))
def list_append_under_condition(x):
    kept = []
    for value in x:
        if value > 0:
            kept.append(value)
    return gf.stack(kept)


@program(floats(1, 2, 3))
def python_list_append(x):
    rows = []
    for k in range(4):
        rows.append(x * k)
    return gf.stack(rows)


@program(floats(1, 2, 3), floats(4, 5))
def comprehension_over_tensor(x):
    return gf.stack([value * value for value in x])


@program(floats(1, 2, 3))
def comprehension_with_python_condition(x):
    parts = [x[k] * k for k in range(3) if k != 1]
    return gf.stack(parts), sum(parts)


@program(integers(5), integers(3))
def tensor_array(n):
    array = gf.TensorArray(gf.int32, size=0, dynamic_size=True)
    for i in gf.range(n):
        array = array.write(i, i * 3)
    return array.stack()


@program(integers(1000), integers(4))
def two_exit_conditions(n):
    i, x = gf.constant(0), gf.constant(1.0)
    while i < n and x < 100.0:
        x = x * 1.5
        i += 1
    return i, x


@program(integers(5), integers(0))
def unchanged_value_in_loop(n):
    scale = 2.0
    total = 0.0
    for i in gf.range(n):
        total += scale * gf.cast(i, gf.float32)
    return total, scale


@program(integers(6), integers(7))
def swap_in_loop(n):
    a, b = gf.constant([1.0, 2.0]), gf.constant([3.0, 4.0])
    for _ in gf.range(n):
        a, b = b, a
    return a, b


@program(integers(4), integers(5))
def rotate_in_loop(n):
    a, b, c = gf.constant([1.0]), gf.constant([2.0]), gf.constant([3.0])
    for _ in gf.range(n):
        a, b, c = b, c, a + b
    return a, b, c


@program(integers(3), integers(0))
def dictionary_state(n):
    state = {"i": gf.constant(0), "x": gf.constant([1.0, 2.0])}
    while state["i"] < n:
        state = {"i": state["i"] + 1, "x": state["x"] * 2}
    return state


@program(integers(3), integers(0))
def dictionary_items_written(n):
    state = {"i": gf.constant(0), "x": gf.constant([1.0, 2.0])}
    while state["i"] < n:
        state["x"] = state["x"] * 2
        state["i"] += 1
    return state


@program((floats(1, 5, 3), floats(2)), (floats(9, 8, 7), floats(20)))
def loop_then_branch(x, limit):
    best = x[0]
    for value in x:
        if value > best:
            best = value
    if best > limit:
        best = best / limit
    return best


@program(integers(10), integers(3))
def loop_result_feeds_loop(n):
    total = 0
    for i in gf.range(n):
        total += i
    product = 1
    for i in gf.range(total):
        product = (product * 3 + i) % 1009
    return product


@program(integers(5))
def functional_while(n):
    return gf.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, x * 2), (gf.constant(0), gf.ones([2])))


@program(floats(1, 2, 3, 4), floats(5, 6))
def functional_scan(x):
    return gf.scan(lambda a, v: a * 0.5 + v, x)


@program(floats(1, 2, 3, 4), floats(5, 6))
def functional_folds(x):
    return gf.foldl(lambda a, v: a * 2 + v, x), gf.foldr(lambda a, v: a * 2 + v, x)


@program(floats([[1, 2], [3, 4], [5, 6]]))
def functional_map(x):
    return gf.map_fn(lambda row: gf.reduce_sum(row) * row, x)


@program(integers(7), integers(12))
def loop_in_branch(n):
    if n % 2 == 0:
        total = 0
        for i in gf.range(n):
            total += i
    else:
        total = n
        while total > 2:
            total -= 2
    return total


@program(floats(1, 2, 3, 4, 5), floats(5, 4, 3))
def cumulative(x):
    total = gf.constant(0.0)
    sums = gf.TensorArray(gf.float32, size=0, dynamic_size=True)
    i = 0
    for value in x:
        total += value
        sums = sums.write(i, total)
        i += 1  # noqa: SIM113
    return sums.stack()


@program(floats(3, 1, 2), floats(9, -1, 5))
def bubble_pass(x):
    a, b, c = x[0], x[1], x[2]
    for _ in range(2):
        if a > b:
            a, b = b, a
        if b > c:
            b, c = c, b
    return gf.stack([a, b, c])


@program((floats(1, 2, 3), integers(1)), (floats(1, 2, 3), integers(2)))
def index_by_tensor_in_loop(x, start):
    total = 0.0
    i = start
    while i < 3:
        total += x[i]
        i += 1
    return total


@program(floats(0.5), floats(0.9))
def exponential_series(x):
    term, total, k = gf.constant(1.0), gf.constant(1.0), gf.constant(1.0)
    while gf.abs(term) > 1e-7:
        term = term * x / k
        total += term
        k += 1.0
    return total


@program(floats(-0.7), floats(0.3))
def mandelbrot_escape(x):
    re, im, n = gf.constant(0.0), gf.constant(0.0), gf.constant(0)
    while re * re + im * im < 4.0 and n < 50:
        re, im = re * re - im * im + x, 2.0 * re * im + 0.3
        n += 1
    return n
