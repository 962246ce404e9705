package org.edgestyle.demo

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sin

/** A photo as a network takes it, and where in it the photo lies. */
class Prepared(val tensor: Tensor, val window: Window)

/**
 * The manifest's rule `fit-pad-reflect`: scale to fit inside [height] x [width], aspect kept; centre; fill the rest by
 * reflection, the edge itself not repeated.
 */
fun fit(photo: Picture, height: Int, width: Int): Prepared {
    val scale = min(height.toDouble() / photo.height, width.toDouble() / photo.width)
    val h = scaled(photo.height, scale)
    val w = scaled(photo.width, scale)
    val window = Window((height - h) / 2, (width - w) / 2, h, w)
    return Prepared(reflect(resize(photo, h, w), window, height, width), window)
}

private fun scaled(side: Int, scale: Double): Int = max(1, floor(side * scale + 0.5).toInt())

/** The manifest's filter: Lanczos with three lobes, widened where it scales down; along rows, then along columns. */
private fun resize(photo: Picture, height: Int, width: Int): Tensor {
    val narrow = FloatArray(photo.height * width * Tensor.CHANNELS)
    taps(photo.width, width).forEachIndexed { column, taps ->
        for (row in 0 until photo.height) {
            var red = 0f
            var green = 0f
            var blue = 0f
            val start = row * photo.width + taps.first
            taps.weights.forEachIndexed { tap, weight ->
                val argb = photo.argb[start + tap]
                red += weight * (argb shr 16 and 0xff)
                green += weight * (argb shr 8 and 0xff)
                blue += weight * (argb and 0xff)
            }
            val at = (row * width + column) * Tensor.CHANNELS
            narrow[at] = red / 255f
            narrow[at + 1] = green / 255f
            narrow[at + 2] = blue / 255f
        }
    }
    val stride = width * Tensor.CHANNELS
    val values = FloatArray(height * stride)
    taps(photo.height, height).forEachIndexed { row, taps ->
        taps.weights.forEachIndexed { tap, weight ->
            val source = (taps.first + tap) * stride
            for (at in 0 until stride) values[row * stride + at] += weight * narrow[source + at]
        }
    }
    for (at in values.indices) values[at] = values[at].coerceIn(0f, 1f)
    return Tensor(height, width, values)
}

/** What a value is the mean of: the values from [first] on, each weighed. */
private class Taps(val first: Int, val weights: FloatArray)

/** For each of [m] values made of [n]. */
private fun taps(n: Int, m: Int): List<Taps> {
    val ratio = n.toDouble() / m
    val widened = max(1.0, ratio)
    return List(m) { i ->
        val centre = (i + 0.5) * ratio
        val first = max(0, floor(centre - LOBES * widened + 0.5).toInt())
        val end = min(n, floor(centre + LOBES * widened + 0.5).toInt())
        val weights = DoubleArray(end - first) { lanczos((first + it + 0.5 - centre) / widened) }
        val sum = weights.sum()
        Taps(first, FloatArray(weights.size) { (weights[it] / sum).toFloat() })
    }
}

private const val LOBES = 3

private fun lanczos(x: Double): Double = if (abs(x) < LOBES) sinc(x) * sinc(x / LOBES) else 0.0

private fun sinc(x: Double): Double = if (x == 0.0) 1.0 else sin(PI * x) / (PI * x)

/** [tensor] at [window] of a larger one. */
private fun reflect(tensor: Tensor, window: Window, height: Int, width: Int): Tensor {
    if (tensor.height == height && tensor.width == width) return tensor
    val values = FloatArray(height * width * Tensor.CHANNELS)
    for (row in 0 until height) {
        val sourceRow = mirrored(row - window.top, tensor.height)
        for (column in 0 until width) {
            val source = (sourceRow * tensor.width + mirrored(column - window.left, tensor.width)) * Tensor.CHANNELS
            tensor.values.copyInto(values, (row * width + column) * Tensor.CHANNELS, source, source + Tensor.CHANNELS)
        }
    }
    return Tensor(height, width, values)
}

/** The place inside 0 until [size] that [at] is the reflection of, as often as needed: c b | a b c | b a. */
private fun mirrored(at: Int, size: Int): Int {
    if (size == 1) return 0
    val period = 2 * (size - 1)
    val inside = at.mod(period)
    return if (inside < size) inside else period - inside
}
