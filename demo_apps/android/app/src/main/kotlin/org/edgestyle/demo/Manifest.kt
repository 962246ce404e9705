package org.edgestyle.demo

import android.content.res.AssetManager
import org.json.JSONException
import org.json.JSONObject

/** What the app has to know about a model: the part that it needs of the JSON beside each exported file. */
data class Manifest(
    val file: String,
    val style: String,
    val artist: String,
    val height: Int,
    val width: Int,
    val bytes: Boolean,
    val golden: Golden,
) {
    val asset: String get() = "$FOLDER/$file"

    /** The golden bundle, which lies in the assets of the tests. */
    data class Golden(
        val photo: String,
        val tensor: String,
        val window: Window,
        val maxError: Double,
        val input: String,
        val expected: String,
        val minPsnrDb: Double,
    )

    companion object {
        const val FOLDER = "models"

        /** The manifests of all models in the app, in the order of their names. */
        fun all(assets: AssetManager): List<Manifest> =
            assets.list(FOLDER).orEmpty().filter { it.endsWith(".json") }.sorted().map { name ->
                parse(name, assets.open("$FOLDER/$name").use { it.readBytes().decodeToString() })
            }

        private fun parse(name: String, json: String): Manifest = try {
            val manifest = JSONObject(json)
            val contract = manifest.getJSONObject("contract")
            val input = contract.getJSONObject("input")
            require(input.getString("layout") == "NHWC") { "this app calls files of layout NHWC" }
            require(contract.getString("resize") == "fit-pad-reflect") { "this app knows the rule fit-pad-reflect" }
            val style = contract.getJSONArray("styles").getJSONObject(0)
            val size = contract.getJSONArray("size")
            Manifest(
                file = manifest.getString("file"),
                style = style.getString("title"),
                artist = style.getString("artist"),
                height = size.getInt(0),
                width = size.getInt(1),
                bytes = input.getString("dtype") == "uint8",
                golden = golden(manifest.getJSONObject("golden")),
            )
        } catch (error: JSONException) {
            throw IllegalArgumentException("$name: ${error.message}", error)
        }

        private fun golden(json: JSONObject): Golden {
            val window = json.getJSONArray("window")
            fun file(part: String) = json.getJSONObject(part).getString("name")
            return Golden(
                photo = file("photo"),
                tensor = file("tensor"),
                window = Window(window.getInt(0), window.getInt(1), window.getInt(2), window.getInt(3)),
                maxError = json.getDouble("max_error"),
                input = file("input"),
                expected = file("expected"),
                minPsnrDb = json.getDouble("min_psnr_db"),
            )
        }
    }
}
