package org.edgestyle.demo

import android.graphics.ImageDecoder
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.log10
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** The app's own code against the golden bundle of every model in it, on this device. */
@RunWith(AndroidJUnit4::class)
class GoldenBundleTest {
    private val app = InstrumentationRegistry.getInstrumentation().targetContext
    private val golden = InstrumentationRegistry.getInstrumentation().context.assets
    private val manifests = Manifest.all(app.assets)

    @Test
    fun thereIsAModel() = assertTrue(manifests.isNotEmpty())

    /** JPEG, EXIF orientation, filter, window. */
    @Test
    fun thePhotoBecomesTheTensor() = manifests.forEach { manifest ->
        val prepared = fit(photo(manifest.golden.photo), manifest.height, manifest.width)
        assertEquals(manifest.golden.window, prepared.window)
        val bytes = golden.open("${Manifest.FOLDER}/${manifest.golden.tensor}").use { it.readBytes() }
        val expected = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        val made = prepared.tensor.values
        assertEquals(made.size, expected.remaining())
        val error = made.indices.maxOf { abs(made[it] - expected[it]) }
        assertTrue("${manifest.file}: off by ${error * 255} / 255", error <= manifest.golden.maxError)
    }

    /** The network's call, on every delegate that this device has. */
    @Test
    fun theInputBecomesTheExpectedPicture() = manifests.forEach { manifest ->
        val input = Tensor.of(photo(manifest.golden.input))
        val expected = Tensor.of(photo(manifest.golden.expected)).values
        for (delegate in Delegate.entries) {
            StyleModel.open(app, manifest, delegate).use { model ->
                val painted = Tensor.of(model.paint(input).picture()).values
                val psnr = psnr(painted, expected)
                val what = "${manifest.file} on ${model.delegate} (asked for $delegate): $psnr dB"
                assertTrue(what, psnr >= manifest.golden.minPsnrDb)
            }
        }
    }

    private fun photo(name: String): Picture = decode(ImageDecoder.createSource(golden, "${Manifest.FOLDER}/$name"))

    private fun psnr(a: FloatArray, b: FloatArray): Double {
        assertEquals(a.size, b.size)
        return -10 * log10(a.indices.sumOf { (a[it] - b[it]).toDouble().let { d -> d * d } } / a.size)
    }
}
