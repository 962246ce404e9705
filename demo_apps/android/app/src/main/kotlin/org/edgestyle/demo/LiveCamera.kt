package org.edgestyle.demo

import android.Manifest.permission.CAMERA
import android.content.pm.PackageManager.PERMISSION_GRANTED
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.platform.LocalContext
import androidx.lifecycle.compose.LifecycleResumeEffect
import androidx.lifecycle.compose.LocalLifecycleOwner

/**
 * Gives the camera's frames to [model] while they are wanted, after asking for it.
 *
 * @return whether the camera is allowed.
 */
@Composable
fun LiveCamera(model: DemoViewModel, state: DemoState): Boolean {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    var allowed by remember { mutableStateOf(context.checkSelfPermission(CAMERA) == PERMISSION_GRANTED) }
    val ask = rememberLauncherForActivityResult(RequestPermission()) { granted ->
        allowed = granted
        model.tell(if (granted) null else Message(R.string.error_permission))
    }
    LaunchedEffect(Unit) { if (!allowed) ask.launch(CAMERA) }
    LifecycleResumeEffect(Unit) {
        allowed = context.checkSelfPermission(CAMERA) == PERMISSION_GRANTED // it may have been changed in the settings
        onPauseOrDispose { }
    }
    LaunchedEffect(allowed, state.live, state.front) {
        try {
            if (allowed && state.live) {
                bindCamera(context, owner, state.front, model.executor, model::onFrame)
            } else {
                releaseCamera(context)
            }
        } catch (_: NoCameraException) {
            if (allowed && state.live) model.tell(Message(R.string.error_no_camera))
        }
    }
    return allowed
}
