package org.edgestyle.demo

import android.content.Context
import android.util.Size
import androidx.camera.core.CameraInfoUnavailableException
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.InitializationException
import androidx.camera.core.resolutionselector.ResolutionSelector
import androidx.camera.core.resolutionselector.ResolutionStrategy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.lifecycle.awaitInstance
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor

/** This device has no camera, or none that can be used now. */
class NoCameraException(cause: Exception? = null) : Exception(cause)

/** What the network is shown; cameras with another shape take the nearest. */
private val FRAME = Size(640, 480)

/**
 * Gives frames to [onFrame], upright, on [executor], until [owner] stops. A frame that comes while another is being
 * painted is dropped.
 *
 * @param front whether the camera that faces the user is wanted; where there is none, or only that, the other serves.
 * @throws NoCameraException there is none that can be used.
 */
suspend fun bindCamera(
    context: Context,
    owner: LifecycleOwner,
    front: Boolean,
    executor: Executor,
    onFrame: (Picture) -> Unit,
) {
    val analysis = analysis()
    analysis.setAnalyzer(executor) { frame -> frame.use { onFrame(it.toBitmap().toPicture()) } }
    try {
        val provider = ProcessCameraProvider.awaitInstance(context)
        provider.unbindAll()
        provider.bindToLifecycle(owner, camera(provider, front), analysis)
    } catch (error: InitializationException) { // a policy forbids it
        throw NoCameraException(error)
    } catch (error: CameraInfoUnavailableException) {
        throw NoCameraException(error)
    } catch (error: IllegalArgumentException) { // it gives no such frames
        throw NoCameraException(error)
    }
}

/** @throws NoCameraException there was none to release. */
suspend fun releaseCamera(context: Context) {
    try {
        ProcessCameraProvider.awaitInstance(context).unbindAll()
    } catch (error: InitializationException) {
        throw NoCameraException(error)
    }
}

private fun camera(provider: ProcessCameraProvider, front: Boolean): CameraSelector {
    val facing = listOf(CameraSelector.DEFAULT_BACK_CAMERA, CameraSelector.DEFAULT_FRONT_CAMERA)
    return (if (front) facing.asReversed() else facing).firstOrNull(provider::hasCamera)
        ?: provider.availableCameraInfos.firstOrNull()?.cameraSelector
        ?: throw NoCameraException()
}

private fun analysis(): ImageAnalysis =
    ImageAnalysis.Builder()
        .setResolutionSelector(
            ResolutionSelector.Builder()
                .setResolutionStrategy(
                    ResolutionStrategy(FRAME, ResolutionStrategy.FALLBACK_RULE_CLOSEST_HIGHER_THEN_LOWER),
                )
                .build(),
        )
        .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
        .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
        .setOutputImageRotationEnabled(true)
        .build()
