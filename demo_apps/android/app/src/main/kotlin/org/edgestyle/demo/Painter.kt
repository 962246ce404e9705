package org.edgestyle.demo

import android.content.Context

/** What came of painting a picture, and how long it took. */
class Painting(val photo: Picture, val painted: Picture, val prepareMs: Double, val networkMs: Double)

/** Keeps one model open and paints with it. To be used by one thread: the one that all painting is done on. */
class Painter(private val context: Context) : AutoCloseable {
    private var opened: Pair<Pair<Manifest, Delegate>, StyleModel>? = null

    /** The model of [manifest] on [wanted], or on what takes it. */
    fun open(manifest: Manifest, wanted: Delegate): StyleModel {
        opened?.let { (asked, model) -> if (asked == manifest to wanted) return model }
        close()
        return StyleModel.open(context, manifest, wanted).also { opened = manifest to wanted to it }
    }

    /** [photo] as the network takes it, and the network's picture of it, both cropped to the photo. */
    fun paint(photo: Picture, manifest: Manifest, model: StyleModel): Painting {
        val began = System.nanoTime()
        val prepared = fit(photo, manifest.height, manifest.width)
        val ready = System.nanoTime()
        val painted = model.paint(prepared.tensor)
        val done = System.nanoTime()
        return Painting(
            photo = prepared.tensor.picture(prepared.window),
            painted = painted.picture(prepared.window),
            prepareMs = (ready - began) / NANOS_PER_MS,
            networkMs = (done - ready) / NANOS_PER_MS,
        )
    }

    override fun close() {
        opened?.second?.close()
        opened = null
    }
}

private const val NANOS_PER_MS = 1e6
