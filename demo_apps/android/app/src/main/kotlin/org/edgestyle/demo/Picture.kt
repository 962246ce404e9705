package org.edgestyle.demo

/**
 * A picture in 8 bits: [argb] row by row, upright, sRGB, opaque.
 *
 * This file and Prepare.kt know nothing of Android, so that any Kotlin compiler can build and test them.
 */
class Picture(val width: Int, val height: Int, val argb: IntArray) {
    init {
        require(width > 0 && height > 0 && argb.size == width * height) { "$width x $height, ${argb.size} pixels" }
    }
}

/** The part of an enlarged picture that holds the real one, in pixels. */
data class Window(val top: Int, val left: Int, val height: Int, val width: Int)

/** A picture as floats in [0, 1]: (height, width, 3), row by row, RGB interleaved, as bitmaps are. */
class Tensor(val height: Int, val width: Int, val values: FloatArray) {
    init {
        require(values.size == height * width * CHANNELS) { "$height x $width, ${values.size} values" }
    }

    /** The part of it in [window] as 8 bits, halves rounded up; what is not a number is black. */
    fun picture(window: Window = Window(0, 0, height, width)): Picture {
        val argb = IntArray(window.height * window.width) { pixel ->
            val row = window.top + pixel / window.width
            val column = window.left + pixel % window.width
            val at = (row * width + column) * CHANNELS
            OPAQUE or (byte(values[at]) shl 16) or (byte(values[at + 1]) shl 8) or byte(values[at + 2])
        }
        return Picture(window.width, window.height, argb)
    }

    companion object {
        const val CHANNELS = 3

        /** A picture without any resizing. */
        fun of(picture: Picture): Tensor {
            val values = FloatArray(picture.argb.size * CHANNELS)
            picture.argb.forEachIndexed { pixel, argb ->
                for (channel in 0 until CHANNELS) values[pixel * CHANNELS + channel] = channelOf(argb, channel) / 255f
            }
            return Tensor(picture.height, picture.width, values)
        }
    }
}

/** [painted] over [photo], from 0 (the photo) to 1; both of one size. */
fun mix(photo: Picture, painted: Picture, strength: Float): Picture {
    require(photo.width == painted.width && photo.height == painted.height)
    val argb = IntArray(photo.argb.size) { pixel ->
        var mixed = OPAQUE
        for (channel in 0 until Tensor.CHANNELS) {
            val from = channelOf(photo.argb[pixel], channel) / 255f
            val to = channelOf(painted.argb[pixel], channel) / 255f
            mixed = mixed or (byte(from + (to - from) * strength) shl shift(channel))
        }
        mixed
    }
    return Picture(photo.width, photo.height, argb)
}

/** [value] in [0, 1] as 0..255. */
internal fun byte(value: Float): Int = (value * 255f + 0.5f).toInt().coerceIn(0, 255)

/** Red (0), green (1) or blue (2) of a pixel. */
internal fun channelOf(argb: Int, channel: Int): Int = argb shr shift(channel) and 0xff

private const val OPAQUE = 0xff shl 24

private fun shift(channel: Int): Int = 16 - 8 * channel
