import CoreImage
import CoreTransferable
import Metal
import UniformTypeIdentifiers

/// Where Core Image computes.
enum Rendering {
    static let device = MTLCreateSystemDefaultDevice()
    static let sRGB = CGColorSpace(name: CGColorSpace.sRGB)!
    /// Without a working space: in linear light, where it would work otherwise, halfway between two pictures is not
    /// halfway between their numbers.
    static let context = device.map { CIContext(mtlDevice: $0, options: options) } ?? CIContext(options: options)
    private static let options: [CIContextOption: Any] = [.workingColorSpace: NSNull(), .cacheIntermediates: false]
}

/// A picture that becomes a PNG when somebody takes it.
struct SharedPicture: Transferable {
    let image: CIImage

    static var transferRepresentation: some TransferRepresentation {
        DataRepresentation(exportedContentType: .png) { try $0.png() }
            .suggestedFileName("EdgeStyle.png")
    }

    func png() throws -> Data {
        guard
            let data = Rendering.context.pngRepresentation(
                of: image, format: .RGBA8, colorSpace: Rendering.sRGB, options: [:])
        else { throw DemoError.save("it cannot be encoded") }
        return data
    }
}
