import CoreML
import CoreVideo

/// Where a model may run. Core ML decides by itself which of the units take which part of it.
enum ComputeUnit: String, CaseIterable, Identifiable {
    case neuralEngine = "Neural Engine"
    case gpu = "GPU"
    case cpu = "CPU"

    var id: Self { self }

    var units: MLComputeUnits {
        switch self {
        case .neuralEngine: .cpuAndNeuralEngine
        case .gpu: .cpuAndGPU
        case .cpu: .cpuOnly
        }
    }
}

/// A network's picture of a photo, how it was prepared, and how long both took.
struct Painting {
    /// The photo as the network saw it, and what it made of that; the photo itself lies in `window`.
    let photo: CVPixelBuffer
    let painted: CVPixelBuffer
    let window: Window
    let prepareMs: Double
    let networkMs: Double
}

/// Keeps one model open and paints with it, one picture after another.
actor StyleModel {
    private var opened: (manifest: Manifest, unit: ComputeUnit, model: MLModel)?

    /// Lets go of the model, which the next picture opens again.
    func close() {
        opened = nil
    }

    func paint(_ photo: Picture, with manifest: Manifest, on unit: ComputeUnit) throws -> Painting {
        let model = try open(manifest, on: unit)
        let clock = ContinuousClock()
        let began = clock.now
        let prepared = fit(photo, height: manifest.height, width: manifest.width)
        let input = try prepared.tensor.picture.pixelBuffer()
        let ready = clock.now
        let painted = try Self.run(model, on: input, manifest)
        return Painting(
            photo: input,
            painted: painted,
            window: prepared.window,
            prepareMs: (ready - began).milliseconds,
            networkMs: (clock.now - ready).milliseconds
        )
    }

    /// The network's picture of `input`, which has the manifest's size.
    func paint(_ input: CVPixelBuffer, with manifest: Manifest, on unit: ComputeUnit) throws -> CVPixelBuffer {
        try Self.run(open(manifest, on: unit), on: input, manifest)
    }

    private func open(_ manifest: Manifest, on unit: ComputeUnit) throws -> MLModel {
        if let opened, opened.manifest == manifest, opened.unit == unit { return opened.model }
        close()
        let name = (manifest.file as NSString).deletingPathExtension
        guard let url = Bundle.main.url(forResource: name, withExtension: "mlmodelc") else {
            throw DemoError.model("\(manifest.file) is not in the app")
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = unit.units
        do {
            let model = try MLModel(contentsOf: url, configuration: configuration)
            opened = (manifest, unit, model)
            return model
        } catch {
            throw DemoError.model(error.localizedDescription)
        }
    }

    private static func run(_ model: MLModel, on input: CVPixelBuffer, _ manifest: Manifest) throws -> CVPixelBuffer {
        do {
            let image = MLFeatureValue(pixelBuffer: input)
            let inputs = try MLDictionaryFeatureProvider(dictionary: [manifest.contract.input.name: image])
            let outputs = try model.prediction(from: inputs)
            guard let painted = outputs.featureValue(for: manifest.contract.output.name)?.imageBufferValue else {
                throw DemoError.model("it makes no image named \(manifest.contract.output.name)")
            }
            return painted
        } catch let error as DemoError {
            throw error
        } catch {
            throw DemoError.model(error.localizedDescription)
        }
    }
}

extension Duration {
    var milliseconds: Double {
        Double(components.seconds) * 1e3 + Double(components.attoseconds) * 1e-15
    }
}
