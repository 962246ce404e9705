import CoreImage
import Observation
import Photos

/// What the screen shows, and what its controls do.
@MainActor
@Observable
final class DemoModel {
    private(set) var manifests: [Manifest] = []
    private(set) var picture: CIImage?
    private(set) var timing: String?
    private(set) var saved = false
    var error: DemoError?
    var selected: Manifest? { didSet { repaint() } }
    var unit = ComputeUnit.neuralEngine { didSet { repaint() } }
    var strength = 1.0 { didSet { mix() } }
    private(set) var front = false
    private(set) var live = false

    private let camera = Camera()
    private let model = StyleModel()
    private var photo: Picture?
    private var painting: Painting?

    init() {
        do {
            manifests = try Manifest.all()
            selected = manifests.first
            if manifests.isEmpty { error = .noModels }
        } catch {
            self.error = .model(error.localizedDescription)
        }
    }

    /// Paints the camera's frames until the task that it is called from is cancelled.
    func paintFrames() async {
        for await frame in camera.frames() where live {
            await paint(frame)
        }
    }

    func goLive() async {
        photo = nil
        do {
            try await camera.start(front: front)
            live = true
            error = nil
        } catch let error as DemoError {
            self.error = error
        } catch {
            self.error = .noCamera
        }
    }

    func flip() async {
        front.toggle()
        await goLive()
    }

    func pause() {
        live = false
        camera.stop()
    }

    /// Stops the camera and paints a photo.
    func choose(_ data: Data?) async {
        pause()
        do {
            guard let data else { throw DemoError.photo }
            photo = try await Task.detached { try Picture(encoded: data) }.value
            error = nil
            repaint()
        } catch {
            self.error = .photo
        }
    }

    /// Lets go of the model, which the next picture opens again.
    func releaseMemory() {
        Task { await model.close() }
    }

    /// Puts the picture that is shown into the photo library.
    func save() async {
        guard let picture else { return }
        do {
            let png = try SharedPicture(image: picture).png()
            try await PHPhotoLibrary.shared().performChanges {
                PHAssetCreationRequest.forAsset().addResource(with: .photo, data: png, options: nil)
            }
            saved = true
        } catch {
            self.error = .save(error.localizedDescription)
        }
    }

    private func repaint() {
        guard let photo, !live else { return }
        Task { await paint(photo) }
    }

    private func paint(_ from: Picture) async {
        guard let manifest = selected else { return }
        do {
            let painting = try await model.paint(from, with: manifest, on: unit)
            self.painting = painting
            saved = false
            timing = String(
                format: "%@: network %.1f ms, preparing %.1f ms", unit.rawValue, painting.networkMs, painting.prepareMs)
            mix()
        } catch let error as DemoError {
            pause()
            self.error = error
        } catch {
            pause()
            self.error = .model(error.localizedDescription)
        }
    }

    /// The painting over the photo, as strong as wanted, cropped to the photo.
    private func mix() {
        guard let painting else { return }
        let photo = CIImage(cvPixelBuffer: painting.photo)
        let painted = CIImage(cvPixelBuffer: painting.painted)
        let mixed = photo.applyingFilter(
            "CIDissolveTransition",
            parameters: [kCIInputTargetImageKey: painted, kCIInputTimeKey: strength])
        let window = painting.window
        let bottom = Int(photo.extent.height) - window.top - window.height  // Core Image counts from there
        let crop = CGRect(x: window.left, y: bottom, width: window.width, height: window.height)
        picture = mixed.cropped(to: crop).transformed(by: CGAffineTransform(translationX: -crop.minX, y: -crop.minY))
    }
}
