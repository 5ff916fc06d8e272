"""The kernels of :mod:`~mmseg_isda.core.triton_pass`, which alone imports this module, as it needs Triton.

Logits lie as (images, rows, columns, classes) in float32, as exponents of two. A *cell* is the square between four
neighbouring low-resolution pixels, its corners, from whose logits all output pixels within it are mixed. A *tile* is
a cell, or a part of one that is small enough for one program. Offsets into tensors are of 64 bits.
"""

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)  # Below any exponent, and finite: the difference of two is no NaN.
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _along_axis(tiles, weights, tile, step):
    """For the pixels of a tile along one axis: its cell, their positions and whether they exist, their two weights."""
    cell = tl.load(tiles + 3 * tile)
    position = tl.load(tiles + 3 * tile + 1) + step
    exists = position < tl.load(tiles + 3 * tile + 2)
    near = tl.load(weights + 2 * position, mask=exists, other=0.0)
    far = tl.load(weights + 2 * position + 1, mask=exists, other=0.0)
    return cell, position, exists, near, far


@triton.jit
def _corners(image, top, left, low_height, low_width, num_classes):
    """Offsets of the first class at the corners of cells; beyond an edge the weight is zero."""
    upper = image * low_height + top
    lower = image * low_height + tl.minimum(top + 1, low_height - 1)
    right = tl.minimum(left + 1, low_width - 1)
    return (
        (upper * low_width + left) * num_classes,
        (upper * low_width + right) * num_classes,
        (lower * low_width + left) * num_classes,
        (lower * low_width + right) * num_classes,
    )


@triton.jit
def _mix(logits, corner_0, corner_1, corner_2, corner_3, mask, weight_0, weight_1, weight_2, weight_3):
    """(pixels, classes) up-sampled logits."""
    mixed = weight_0 * tl.load(logits + corner_0, mask=mask, other=0.0)
    mixed += weight_1 * tl.load(logits + corner_1, mask=mask, other=0.0)
    mixed += weight_2 * tl.load(logits + corner_2, mask=mask, other=0.0)
    return mixed + weight_3 * tl.load(logits + corner_3, mask=mask, other=0.0)


@triton.jit
def cross_entropy_of_tiles(
    # (n, h, w, C) shifted unless at the labels; the same not shifted, or None; (C, C) to add at the labels, or None
    logits,
    plain,
    table,
    # (n, H, W); (n, H, W) or None; (C,) or None
    labels,
    weight,
    class_weight,
    # of each axis: (tiles, 3) cell, first pixel, end; (pixels, 2) weights
    tiles_y,
    tiles_x,
    weights_y,
    weights_x,
    # made: (n, H, W) or None; (n, tiles, tiles) or None; the same; (n, H, W) twice or None; (n, tiles, tiles, 4, C)
    # or None
    loss_map,
    losses,
    hits,
    highest_map,
    scale_map,
    partials,
    low_height,
    low_width,
    height,
    width,
    num_classes,
    ignore_index,
    BLOCK_Y: tl.constexpr,  # noqa: N803
    BLOCK_X: tl.constexpr,  # noqa: N803
    BLOCK_C: tl.constexpr,  # noqa: N803
):
    """One program per tile: the loss of its pixels, and what they add to the gradients at their four corners.

    First the softmax's denominator, with a running maximum in each lane, so that lanes are reduced once; then the
    logits are mixed again for the gradient, which costs less than to keep them.
    """
    image = tl.program_id(2).to(tl.int64)
    tile = (image * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0) + tl.program_id(0)
    pixel = tl.arange(0, BLOCK_Y * BLOCK_X)
    top, y, in_y, near_y, far_y = _along_axis(tiles_y, weights_y, tl.program_id(1), pixel // BLOCK_X)
    left, x, in_x, near_x, far_x = _along_axis(tiles_x, weights_x, tl.program_id(0), pixel % BLOCK_X)
    c0, c1, c2, c3 = _corners(image, top, left, low_height, low_width, num_classes)
    w0 = (near_y * near_x)[:, None]
    w1 = (near_y * far_x)[:, None]
    w2 = (far_y * near_x)[:, None]
    w3 = (far_y * far_x)[:, None]

    offset = (image * height + y) * width + x
    exists = in_y & in_x
    label = tl.load(labels + offset, mask=exists, other=0).to(tl.int64)
    valid = exists & (label != ignore_index) & (label >= 0) & (label < num_classes)
    label = tl.where(valid, label, -1).to(tl.int32)
    factor = valid.to(tl.float32)
    if class_weight is not None:
        factor *= tl.load(class_weight + label, mask=valid, other=0.0)
    if weight is not None:
        factor *= tl.load(weight + offset, mask=valid, other=0.0)
    table_row = (label.to(tl.int64) * num_classes)[:, None]

    own = tl.full([BLOCK_Y * BLOCK_X, BLOCK_C], LOWEST, tl.float32)
    best = tl.full([BLOCK_Y * BLOCK_X, BLOCK_C], LOWEST, tl.float32)
    total = tl.zeros([BLOCK_Y * BLOCK_X, BLOCK_C], tl.float32)
    plain_own = tl.full([BLOCK_Y * BLOCK_X, BLOCK_C], LOWEST, tl.float32)
    plain_best = tl.full([BLOCK_Y * BLOCK_X, BLOCK_C], LOWEST, tl.float32)
    for start in range(0, num_classes, BLOCK_C):
        c = (start + tl.arange(0, BLOCK_C))[None, :]
        is_own = c == label[:, None]
        z = _mix(logits, c0 + c, c1 + c, c2 + c, c3 + c, c < num_classes, w0, w1, w2, w3)
        if hits is not None:
            unshifted = z
            if plain is not None:
                unshifted = _mix(plain, c0 + c, c1 + c, c2 + c, c3 + c, c < num_classes, w0, w1, w2, w3)
            plain_own = tl.maximum(plain_own, tl.where(is_own, unshifted, LOWEST))
            plain_best = tl.maximum(plain_best, tl.where(c < num_classes, unshifted, LOWEST))
        if table is not None:
            z += tl.load(table + table_row + c, mask=valid[:, None] & (c < num_classes), other=0.0)
        z = tl.where(c < num_classes, z, LOWEST)
        own = tl.maximum(own, tl.where(is_own, z, LOWEST))
        higher = tl.maximum(best, z)
        total = total * tl.exp2(best - higher) + tl.exp2(z - higher)
        best = higher

    highest = tl.max(best, 1)
    total_of_pixel = tl.sum(total * tl.exp2(best - highest[:, None]), 1)
    scale = factor / total_of_pixel
    # Both terms are at least zero: nothing cancels.
    loss = (tl.log2(total_of_pixel) + (highest - tl.max(own, 1))) * factor * LN_2
    if loss_map is not None:
        tl.store(loss_map + offset, loss, mask=exists)
    if losses is not None:
        tl.store(losses + tile, tl.sum(loss, 0))
    if hits is not None:
        hit = valid & (tl.max(plain_own, 1) >= tl.max(plain_best, 1))
        tl.store(hits + tile, tl.sum(hit.to(tl.float32), 0))
    if highest_map is not None:
        tl.store(highest_map + offset, highest, mask=exists)
        tl.store(scale_map + offset, scale, mask=exists)
    if partials is not None:
        for start in range(0, num_classes, BLOCK_C):
            c = (start + tl.arange(0, BLOCK_C))[None, :]
            z = _mix(logits, c0 + c, c1 + c, c2 + c, c3 + c, c < num_classes, w0, w1, w2, w3)
            if table is not None:
                z += tl.load(table + table_row + c, mask=valid[:, None] & (c < num_classes), other=0.0)
            grad = tl.exp2(z - highest[:, None]) * scale[:, None] - tl.where(c == label[:, None], factor[:, None], 0.0)
            c = start + tl.arange(0, BLOCK_C)
            target = partials + tile * 4 * num_classes + c
            tl.store(target, tl.sum(grad * w0, 0), mask=c < num_classes)
            tl.store(target + num_classes, tl.sum(grad * w1, 0), mask=c < num_classes)
            tl.store(target + 2 * num_classes, tl.sum(grad * w2, 0), mask=c < num_classes)
            tl.store(target + 3 * num_classes, tl.sum(grad * w3, 0), mask=c < num_classes)


@triton.jit
def gradient_from_corners(
    # (n, tiles, tiles, 4, C); of each axis: (h + 1,) the first tile of each cell
    partials,
    starts_y,
    starts_x,
    # made: (n, C, h, w)
    grad,
    num_tiles_y,
    num_tiles_x,
    num_classes,
    BLOCK_C: tl.constexpr,  # noqa: N803
):
    """One program per low-resolution pixel: it adds up what the tiles of the four cells around it hold for it."""
    column = tl.program_id(0)
    row = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    pixels = tl.num_programs(1).to(tl.int64) * tl.num_programs(0)
    for start in range(0, num_classes, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        total = tl.zeros([BLOCK_C], tl.float32)
        for corner in range(4):
            # The pixel is the upper left corner of its own cell, and a lower or right one of the cells before it.
            cell_y = row - corner // 2
            cell_x = column - corner % 2
            end_y = tl.load(starts_y + cell_y + 1, mask=cell_y >= 0, other=0)
            end_x = tl.load(starts_x + cell_x + 1, mask=cell_x >= 0, other=0)
            for tile_y in range(tl.load(starts_y + cell_y, mask=cell_y >= 0, other=0), end_y):
                for tile_x in range(tl.load(starts_x + cell_x, mask=cell_x >= 0, other=0), end_x):
                    tile = (image * num_tiles_y + tile_y) * num_tiles_x + tile_x
                    total += tl.load(partials + (tile * 4 + corner) * num_classes + c, mask=c < num_classes, other=0.0)
        target = grad + (image * num_classes + c) * pixels + row * tl.num_programs(0) + column
        tl.store(target, total, mask=c < num_classes)


@triton.jit
def table_gradient_of_chunks(
    # (n, h, w, C); (C, C)
    logits,
    table,
    # all output pixels in the order of their labels: (n * H * W,) labels, pixels; (C + 1,) where each label begins
    sorted_labels,
    order,
    begins,
    # (n, H, W) twice, from the tiles
    highest_map,
    scale_map,
    # of each axis: (pixels,) cells; (pixels, 2) weights
    cells_y,
    cells_x,
    weights_y,
    weights_x,
    # made: (chunks + C, C), where row chunk + label is what that chunk adds to that label
    partials,
    low_height,
    low_width,
    height,
    width,
    num_classes,
    CHUNK: tl.constexpr,  # noqa: N803
    BLOCK_P: tl.constexpr,  # noqa: N803
    BLOCK_C: tl.constexpr,  # noqa: N803
):
    """One program per chunk of sorted pixels and block of classes: the gradient of each label's row but its own logit.

    From one (chunk, label) to the next either grows, so that their sum names a row of ``partials`` that no other has.
    """
    chunk = tl.program_id(0)
    start = chunk * CHUNK
    end = tl.minimum(start + CHUNK, tl.load(begins + num_classes).to(tl.int32))
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    first = tl.load(sorted_labels + start, mask=start < end, other=1).to(tl.int32)
    last = tl.load(sorted_labels + end - 1, mask=start < end, other=0).to(tl.int32)
    for label in range(first, last + 1):
        row = (chunk + label).to(tl.int64) * num_classes + c
        begin = tl.maximum(start, tl.load(begins + label).to(tl.int32))
        stop = tl.minimum(end, tl.load(begins + label + 1).to(tl.int32))
        shift = tl.load(table + label * num_classes + c, mask=c < num_classes, other=0.0)
        total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
        for at in range(begin, stop, BLOCK_P):
            position = at + tl.arange(0, BLOCK_P)
            exists = position < stop
            pixel = tl.load(order + position, mask=exists, other=0).to(tl.int32)
            x = pixel % width
            y = (pixel // width) % height
            image = (pixel // width // height).to(tl.int64)
            top = tl.load(cells_y + y)
            left = tl.load(cells_x + x)
            near_y = tl.load(weights_y + 2 * y)
            far_y = tl.load(weights_y + 2 * y + 1)
            near_x = tl.load(weights_x + 2 * x)
            far_x = tl.load(weights_x + 2 * x + 1)
            c0, c1, c2, c3 = _corners(image, top, left, low_height, low_width, num_classes)
            z = _mix(
                logits,
                c0[:, None] + c[None, :],
                c1[:, None] + c[None, :],
                c2[:, None] + c[None, :],
                c3[:, None] + c[None, :],
                exists[:, None] & (c < num_classes)[None, :],
                (near_y * near_x)[:, None],
                (near_y * far_x)[:, None],
                (far_y * near_x)[:, None],
                (far_y * far_x)[:, None],
            )
            highest = tl.load(highest_map + pixel, mask=exists, other=0.0)
            scale = tl.load(scale_map + pixel, mask=exists, other=0.0)
            total += tl.exp2(z + shift[None, :] - highest[:, None]) * scale[:, None]
        tl.store(partials + row, tl.where(c == label, 0.0, tl.sum(total, 0)), mask=(c < num_classes) & (begin < stop))


@triton.jit
def table_gradient_from_chunks(
    # (chunks + C, C); (C + 1,)
    partials,
    begins,
    # changed: (C, C)
    grad,
    num_classes,
    CHUNK: tl.constexpr,  # noqa: N803
    BLOCK_K: tl.constexpr,  # noqa: N803
    BLOCK_C: tl.constexpr,  # noqa: N803
):
    """One program per label and block of classes: it adds up the rows of the chunks that hold the label."""
    label = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    begin = tl.load(begins + label).to(tl.int32)
    end = tl.load(begins + label + 1).to(tl.int32)
    first = begin // CHUNK
    stop = tl.where(begin < end, (end + CHUNK - 1) // CHUNK, first)
    total = tl.zeros([BLOCK_K, BLOCK_C], tl.float32)
    for at in range(first, stop, BLOCK_K):
        chunk = at + tl.arange(0, BLOCK_K)
        row = (chunk + label).to(tl.int64)[:, None] * num_classes + c[None, :]
        total += tl.load(partials + row, mask=(chunk < stop)[:, None] & (c < num_classes)[None, :], other=0.0)
    target = grad + label * num_classes + c
    before = tl.load(target, mask=c < num_classes, other=0.0)
    tl.store(target, before + tl.sum(total, 0), mask=c < num_classes)
