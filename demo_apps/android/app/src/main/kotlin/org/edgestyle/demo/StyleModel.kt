package org.edgestyle.demo

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.BuiltinNpuAcceleratorProvider
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.Environment
import com.google.ai.edge.litert.LiteRtException

/** Where a model runs, the most specialised first: a delegate that refuses is followed by the next. */
enum class Delegate(val accelerator: Accelerator) {
    NPU(Accelerator.NPU),
    GPU(Accelerator.GPU),
    CPU(Accelerator.CPU),
}

/** Why a model does not run where it was asked to. */
data class Refusal(val delegate: Delegate, val reason: String)

/** No delegate takes the model. */
class ModelException(val refusals: List<Refusal>) :
    Exception(refusals.joinToString("; ") { "${it.delegate}: ${it.reason}" })

/** A model on a delegate. Not to be used by two threads at once. */
class StyleModel private constructor(
    private val manifest: Manifest,
    private val environment: Environment?,
    private val model: CompiledModel,
    val delegate: Delegate,
    val refusals: List<Refusal>,
) : AutoCloseable {
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** The network's picture of [tensor], which has the manifest's size. */
    fun paint(tensor: Tensor): Tensor {
        val values = if (manifest.bytes) paintBytes(tensor.values) else paintFloats(tensor.values)
        return Tensor(tensor.height, tensor.width, values)
    }

    private fun paintFloats(values: FloatArray): FloatArray {
        inputs[0].writeFloat(values)
        model.run(inputs, outputs)
        return outputs[0].readFloat()
    }

    private fun paintBytes(values: FloatArray): FloatArray {
        inputs[0].writeInt8(ByteArray(values.size) { byte(values[it]).toByte() })
        model.run(inputs, outputs)
        val painted = outputs[0].readInt8()
        return FloatArray(painted.size) { (painted[it].toInt() and 0xff) / 255f }
    }

    override fun close() {
        (inputs + outputs).forEach { it.close() }
        model.close()
        environment?.close()
    }

    companion object {
        /**
         * Opens a model on [wanted], or on the next delegate that takes it.
         *
         * @throws ModelException none does.
         */
        fun open(context: Context, manifest: Manifest, wanted: Delegate): StyleModel {
            val refusals = mutableListOf<Refusal>()
            for (delegate in Delegate.entries.filter { it >= wanted }) {
                val reason = try {
                    return open(context, manifest, delegate, refusals.toList())
                } catch (error: LiteRtException) {
                    error.message
                } catch (error: NoNpuException) {
                    error.message
                } catch (error: UnsatisfiedLinkError) { // there is no runtime for this kind of processor
                    error.message
                }
                refusals += Refusal(delegate, reason.orEmpty())
            }
            throw ModelException(refusals)
        }

        private fun open(context: Context, manifest: Manifest, delegate: Delegate, refusals: List<Refusal>): StyleModel {
            val environment = if (delegate == Delegate.NPU) npuEnvironment(context) else null
            try {
                val options = CompiledModel.Options(delegate.accelerator)
                val model = CompiledModel.create(context.assets, manifest.asset, options, environment)
                return StyleModel(manifest, environment, model, delegate, refusals)
            } catch (error: LiteRtException) {
                environment?.close()
                throw error
            }
        }

        /** The vendor's runtime for the NPU, which an app has to bring: see the README. */
        private fun npuEnvironment(context: Context): Environment {
            val environment = Environment.create(context, BuiltinNpuAcceleratorProvider(context))
            if (Accelerator.NPU in environment.getAvailableAccelerators()) return environment
            environment.close()
            throw NoNpuException()
        }
    }
}

/** LiteRT itself would run on the CPU instead, and not say so. */
private class NoNpuException : Exception("no NPU, or this app does not hold its runtime")
