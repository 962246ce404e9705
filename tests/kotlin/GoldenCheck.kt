package org.edgestyle.demo

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/**
 * The app's pre-processing on a desktop JVM.
 *
 * Arguments: the upright photo's width and height and a file of its RGB bytes; height, width and file of the tensor that
 * must be made of it. Prints the largest difference, the window, and the largest difference after the way back to 8 bits.
 */
fun main(arguments: Array<String>) {
    val (photoWidth, photoHeight) = arguments.take(2).map(String::toInt)
    val rgb = File(arguments[2]).readBytes()
    val photo = Picture(photoWidth, photoHeight, IntArray(photoWidth * photoHeight) { pixel ->
        (0 until 3).fold(0xff) { argb, channel -> argb shl 8 or (rgb[pixel * 3 + channel].toInt() and 0xff) }
    })
    val (height, width) = arguments.slice(3..4).map(String::toInt)
    val expected = ByteBuffer.wrap(File(arguments[5]).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()

    val prepared = fit(photo, height, width)
    val made = prepared.tensor.values
    val again = Tensor.of(prepared.tensor.picture()).values
    val window = prepared.window
    println(made.indices.maxOf { abs(made[it] - expected[it]) })
    println("${window.top} ${window.left} ${window.height} ${window.width}")
    println(made.indices.maxOf { abs(made[it] - again[it]) })
    check(mixes(prepared.tensor.picture(window)))
}

/** At no strength the photo stays, at full strength nothing of it does. */
private fun mixes(photo: Picture): Boolean {
    val grey = Picture(photo.width, photo.height, IntArray(photo.argb.size) { 0xffc8c8c8.toInt() })
    return mix(photo, grey, 0f).argb.contentEquals(photo.argb) && mix(photo, grey, 1f).argb.contentEquals(grey.argb)
}
