package org.edgestyle.demo

import android.content.ContentResolver
import android.content.ContentValues
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Environment
import android.provider.MediaStore
import java.io.IOException

/** Photos of more pixels are read at a half, a third and so on of their size: a network sees far less. */
private const val MOST_PIXELS = 16_000_000

/** A photo, upright by its EXIF orientation, in sRGB, transparency over white. */
fun decode(source: ImageDecoder.Source): Picture {
    val bitmap = ImageDecoder.decodeBitmap(source) { decoder, info, _ ->
        decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // its pixels are read
        decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
        val pixels = info.size.width.toLong() * info.size.height
        var sample = 1
        while (pixels / (sample * sample) > MOST_PIXELS) sample++
        if (sample > 1) decoder.setTargetSampleSize(sample)
    }
    try {
        return bitmap.toPicture()
    } finally {
        bitmap.recycle()
    }
}

fun Bitmap.toPicture(): Picture {
    val argb = IntArray(width * height)
    getPixels(argb, 0, width, 0, 0, width, height)
    if (hasAlpha()) for (at in argb.indices) argb[at] = overWhite(argb[at])
    return Picture(width, height, argb)
}

fun Picture.toBitmap(): Bitmap = Bitmap.createBitmap(argb, width, height, Bitmap.Config.ARGB_8888)

/** Writes a picture into the device's gallery as PNG, whole or not at all. */
fun save(resolver: ContentResolver, bitmap: Bitmap, name: String): Uri {
    val values = ContentValues().apply {
        put(MediaStore.Images.Media.DISPLAY_NAME, "$name.png")
        put(MediaStore.Images.Media.MIME_TYPE, "image/png")
        put(MediaStore.Images.Media.RELATIVE_PATH, "${Environment.DIRECTORY_PICTURES}/EdgeStyle")
        put(MediaStore.Images.Media.IS_PENDING, 1)
    }
    val uri = resolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values) ?: throw IOException("no gallery")
    try {
        val written = resolver.openOutputStream(uri)?.use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
        if (written != true) throw IOException("the gallery took nothing")
        resolver.update(uri, ContentValues().apply { put(MediaStore.Images.Media.IS_PENDING, 0) }, null, null)
        return uri
    } catch (error: IOException) {
        resolver.delete(uri, null, null)
        throw error
    }
}

private fun overWhite(argb: Int): Int {
    val alpha = argb ushr 24
    return (0 until Tensor.CHANNELS).fold(0xff) { over, channel ->
        val value = channelOf(argb, channel)
        over shl 8 or (value * alpha + 255 * (255 - alpha) + 127) / 255
    }
}
