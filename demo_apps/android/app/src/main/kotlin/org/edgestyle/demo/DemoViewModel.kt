package org.edgestyle.demo

import android.app.Application
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import androidx.annotation.StringRes
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import java.io.IOException
import java.util.concurrent.Executors
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** Something to tell the user: a text of the resources, and what goes into it. */
data class Message(@param:StringRes val text: Int, val detail: String? = null)

/** How fast the last picture was painted, and where. */
data class Timing(val delegate: Delegate, val networkMs: Double, val prepareMs: Double)

data class DemoState(
    val manifests: List<Manifest> = emptyList(),
    val selected: Int = 0,
    val wanted: Delegate = Delegate.GPU,
    val strength: Float = 1f,
    val front: Boolean = false,
    val live: Boolean = true,
    val picture: Bitmap? = null,
    val timing: Timing? = null,
    val refusals: List<Refusal> = emptyList(),
    val message: Message? = null,
    val saved: Uri? = null,
) {
    val manifest: Manifest? get() = manifests.getOrNull(selected)
}

/** What the screen shows and what its controls do. All painting is done on one thread of its own. */
class DemoViewModel(application: Application) : AndroidViewModel(application) {
    /** Paints; the camera gives its frames to it. */
    val executor = Executors.newSingleThreadExecutor()
    private val painting = executor.asCoroutineDispatcher()
    private val painter = Painter(application)
    private val mutable = MutableStateFlow(DemoState())
    val state: StateFlow<DemoState> = mutable.asStateFlow()

    @Volatile
    private var photo: Picture? = null

    init {
        try {
            val manifests = Manifest.all(application.assets)
            val message = if (manifests.isEmpty()) Message(R.string.error_no_models) else null
            mutable.update { it.copy(manifests = manifests, message = message) }
        } catch (error: IllegalArgumentException) {
            tell(Message(R.string.error_model, error.message))
        }
    }

    fun select(index: Int) = change { it.copy(selected = index) }

    fun run(on: Delegate) = change { it.copy(wanted = on) }

    fun strengthen(strength: Float) = change { it.copy(strength = strength) }

    fun flip() = mutable.update { it.copy(front = !it.front) }

    fun goLive() {
        photo = null
        mutable.update { it.copy(live = true, message = null) }
    }

    fun tell(message: Message?) = mutable.update { it.copy(message = message) }

    /** Called on [executor] with each frame of the camera. */
    fun onFrame(frame: Picture) {
        if (state.value.live) paint(frame)
    }

    /** Stops the camera and paints a photo of the gallery. */
    fun choose(uri: Uri) {
        mutable.update { it.copy(live = false, message = null) }
        viewModelScope.launch(painting) {
            try {
                photo = decode(ImageDecoder.createSource(getApplication<Application>().contentResolver, uri))
                repaint()
            } catch (error: IOException) { // damaged, not a picture, or gone
                tell(Message(R.string.error_photo, error.message))
            } catch (error: SecurityException) {
                tell(Message(R.string.error_photo, error.message))
            } catch (_: OutOfMemoryError) {
                onOutOfMemory()
            }
        }
    }

    /** Saves the picture that is shown, then calls [then] with its place. */
    fun save(then: (Uri) -> Unit = {}) {
        val shown = state.value
        val picture = shown.picture ?: return
        viewModelScope.launch {
            val name = "${shown.manifest?.style.orEmpty()} ${System.currentTimeMillis()}"
            val resolver = getApplication<Application>().contentResolver
            try {
                val uri = withContext(Dispatchers.IO) { save(resolver, picture, name) }
                mutable.update { it.copy(message = Message(R.string.saved), saved = uri) }
                then(uri)
            } catch (error: IOException) {
                tell(Message(R.string.error_save, error.message))
            }
        }
    }

    /** Lets go of the model, which the next picture opens again. */
    fun onMemoryPressure() {
        viewModelScope.launch(painting) { painter.close() }
    }

    private fun onOutOfMemory() {
        photo = null
        painter.close()
        mutable.update { it.copy(live = false, message = Message(R.string.error_memory)) }
    }

    private fun change(to: (DemoState) -> DemoState) {
        mutable.update(to)
        if (!state.value.live) viewModelScope.launch(painting) { repaint() }
    }

    private fun repaint() {
        photo?.let(::paint)
    }

    private fun paint(from: Picture) {
        val asked = state.value
        val manifest = asked.manifest ?: return
        try {
            val model = painter.open(manifest, asked.wanted)
            val made = painter.paint(from, manifest, model)
            val timing = Timing(model.delegate, made.networkMs, made.prepareMs)
            val picture = mix(made.photo, made.painted, asked.strength).toBitmap()
            mutable.update { it.copy(picture = picture, timing = timing, refusals = model.refusals) }
        } catch (error: ModelException) {
            mutable.update { it.copy(live = false, message = Message(R.string.error_model, error.message)) }
        } catch (_: OutOfMemoryError) {
            onOutOfMemory()
        }
    }

    override fun onCleared() {
        executor.execute(painter::close)
        executor.shutdown()
    }
}
