import CoreImage
import MetalKit
import SwiftUI

/// Shows a picture as large as fits, by Metal; it is drawn when it changes.
struct PictureView: UIViewRepresentable {
    let picture: CIImage

    func makeCoordinator() -> Renderer { Renderer() }

    func makeUIView(context: Context) -> MTKView {
        let view = MTKView(frame: .zero, device: Rendering.device)
        view.framebufferOnly = false  // Core Image writes into it
        view.isPaused = true
        view.enableSetNeedsDisplay = true
        view.delegate = context.coordinator
        view.isOpaque = false
        return view
    }

    func updateUIView(_ view: MTKView, context: Context) {
        context.coordinator.picture = picture
        view.setNeedsDisplay()
    }

    final class Renderer: NSObject, MTKViewDelegate {
        var picture: CIImage?
        private let queue = Rendering.device?.makeCommandQueue()

        func mtkView(_ view: MTKView, drawableSizeWillChange _: CGSize) {
            view.setNeedsDisplay()
        }

        func draw(in view: MTKView) {
            guard let picture, let drawable = view.currentDrawable, let commands = queue?.makeCommandBuffer() else {
                return
            }
            let bounds = CGRect(origin: .zero, size: view.drawableSize)
            Rendering.context.render(
                Self.fitted(picture, into: bounds).composited(over: CIImage(color: .black)),
                to: drawable.texture,
                commandBuffer: commands,
                bounds: bounds,
                colorSpace: Rendering.sRGB
            )
            commands.present(drawable)
            commands.commit()
        }

        private static func fitted(_ picture: CIImage, into bounds: CGRect) -> CIImage {
            let size = picture.extent.size
            let scale = min(bounds.width / size.width, bounds.height / size.height)
            let left = (bounds.width - size.width * scale) / 2
            let bottom = (bounds.height - size.height * scale) / 2
            return picture.transformed(
                by: CGAffineTransform(scaleX: scale, y: scale)
                    .concatenating(CGAffineTransform(translationX: left, y: bottom)))
        }
    }
}
