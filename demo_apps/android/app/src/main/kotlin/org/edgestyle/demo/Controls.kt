package org.edgestyle.demo

import android.content.Intent
import android.net.Uri
import android.provider.Settings
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.compose.foundation.horizontalScroll
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.FlowRow
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.selection.selectableGroup
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.FilterChip
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Slider
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import kotlin.math.roundToInt

@Composable
fun Controls(model: DemoViewModel, state: DemoState, allowed: Boolean, modifier: Modifier) {
    Column(modifier.verticalScroll(rememberScrollState()).padding(16.dp), Arrangement.spacedBy(8.dp)) {
        Status(state)
        Choice(R.string.style, state.manifests, state.manifest, { it.style }) {
            model.select(state.manifests.indexOf(it))
        }
        Choice(R.string.run_on, Delegate.entries, state.wanted, { it.name }, model::run)
        Strength(state.strength, model::strengthen)
        Actions(model, state, allowed)
    }
}

/** What went wrong, where the model runs and how fast; read out when it changes, except for the numbers. */
@Composable
private fun Status(state: DemoState) {
    state.message?.let {
        val polite = Modifier.semantics { liveRegion = LiveRegionMode.Polite }
        Text(stringResource(it.text, it.detail.orEmpty()), polite, color = MaterialTheme.colorScheme.tertiary)
    }
    state.refusals.forEach { Text(stringResource(R.string.fell_back, it.delegate.name, it.reason)) }
    state.timing?.let { Text(stringResource(R.string.latency, it.delegate.name, it.networkMs, it.prepareMs)) }
}

@Composable
private fun <T> Choice(title: Int, all: List<T>, chosen: T?, label: (T) -> String, choose: (T) -> Unit) {
    Text(stringResource(title), style = MaterialTheme.typography.labelLarge)
    Row(Modifier.selectableGroup().horizontalScroll(rememberScrollState()), Arrangement.spacedBy(8.dp)) {
        for (one in all) FilterChip(one == chosen, onClick = { choose(one) }, label = { Text(label(one)) })
    }
}

@Composable
private fun Strength(strength: Float, change: (Float) -> Unit) {
    val spoken = stringResource(R.string.strength_percent, (strength * 100).roundToInt())
    Text(stringResource(R.string.strength), style = MaterialTheme.typography.labelLarge)
    Slider(strength, change, Modifier.semantics { contentDescription = spoken })
}

@Composable
private fun Actions(model: DemoViewModel, state: DemoState, allowed: Boolean) {
    val context = LocalContext.current
    val pick = rememberLauncherForActivityResult(PickVisualMedia()) { uri -> uri?.let(model::choose) }
    FlowRow(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        Action(R.string.photo) { pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }
        if (!allowed) {
            Action(R.string.settings) {
                val app = Uri.fromParts("package", context.packageName, null)
                context.startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, app))
            }
        } else if (state.live) {
            Action(R.string.flip_camera, onClick = model::flip)
        } else {
            Action(R.string.camera, onClick = model::goLive)
        }
        Action(R.string.save, state.picture != null) { model.save() }
        Action(R.string.share, state.picture != null) {
            model.save { uri ->
                val send = Intent(Intent.ACTION_SEND).setType("image/png").putExtra(Intent.EXTRA_STREAM, uri)
                context.startActivity(Intent.createChooser(send, null))
            }
        }
    }
}

@Composable
private fun Action(text: Int, enabled: Boolean = true, onClick: () -> Unit) {
    TextButton(onClick, enabled = enabled) { Text(stringResource(text)) }
}
