package org.edgestyle.demo

import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.BoxWithConstraints
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.layout.width
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.layout.ContentScale
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import androidx.lifecycle.compose.collectAsStateWithLifecycle

/** The picture and its controls: below it in portrait, beside it in landscape. */
@Composable
fun DemoScreen(model: DemoViewModel) {
    val state by model.state.collectAsStateWithLifecycle()
    val allowed = LiveCamera(model, state)
    Surface(Modifier.fillMaxSize()) {
        BoxWithConstraints(Modifier.safeDrawingPadding()) {
            if (maxWidth > maxHeight) {
                Row {
                    PictureView(state, Modifier.weight(1f))
                    Controls(model, state, allowed, Modifier.width(360.dp))
                }
            } else {
                Column {
                    PictureView(state, Modifier.weight(1f))
                    Controls(model, state, allowed, Modifier.fillMaxWidth())
                }
            }
        }
    }
}

@Composable
private fun PictureView(state: DemoState, modifier: Modifier) {
    Box(modifier.fillMaxSize(), contentAlignment = Alignment.Center) {
        val picture = state.picture
        if (picture == null) {
            Text(stringResource(R.string.picture_none))
        } else {
            Image(
                bitmap = picture.asImageBitmap(),
                contentDescription = stringResource(R.string.picture_painted, state.manifest?.style.orEmpty()),
                contentScale = ContentScale.Fit,
                modifier = Modifier.fillMaxSize(),
            )
        }
    }
}
